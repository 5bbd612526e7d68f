#!/bin/sh
# Installs a package, upgrades it, runs what it has installed, removes and purges it: on a copy of this system that is thrown away.
#
#   deploy/debian/try.sh EARLIER.deb LATER.deb        as root
set -eu

if [ "${1:-}" != inside ]; then
    exec unshare --mount --pid --fork --kill-child "$0" inside "$(realpath "$1")" "$(realpath "$2")"
fi
earlier=$2 later=$3

# What is written goes to memory, and with these mounts.
world=$(mktemp -d)
mount -t tmpfs tmpfs "$world"
mkdir "$world/upper" "$world/work" "$world/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$world/upper,workdir=$world/work" "$world/root"
cd "$world/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir tmp/packages
cp "$earlier" tmp/packages/earlier.deb
cp "$later" tmp/packages/later.deb

cat > tmp/packages/inside.sh <<'SCRIPT'
set -eu
export DEBIAN_FRONTEND=noninteractive
said() { echo "try.sh: $*"; }
must_be() { if ! [ "$@" ]; then said "not so: $*"; exit 1; fi; }

dpkg --install /tmp/packages/earlier.deb
getent passwd weir > /dev/null || { said "no user weir"; exit 1; }
must_be -f /usr/lib/systemd/system/weir.service
must_be -L /etc/systemd/system/multi-user.target.wants/weir.service
must_be ! -e /etc/weir/cookie
weir config check /etc/weir/weir.toml
man --warnings weir > /dev/null
for file in THIRD-PARTY weir.cdx.json; do
    dpkg --listfiles weir | grep -q "/usr/share/doc/weir/$file" || { said "no $file"; exit 1; }
done

# By hand what the unit does: there is no systemd here.
install -d -m 0700 -o weir -g weir /var/lib/weir
(umask 077 && echo wojtyra > /etc/weir/cookie)
install -d -m 0700 -o weir -g weir /run/weir
install -m 0400 -o weir -g weir /etc/weir/cookie /run/weir/cookie
setpriv --reuid=weir --regid=weir --clear-groups env XDG_RUNTIME_DIR=/run/weir PORT=4321 \
    weir node --config /etc/weir/weir.toml --cookie-file /run/weir/cookie --data-dir /var/lib/weir > /run/ready 2> /run/log &
node=$!
for _ in $(seq 300); do
    if weir health --url http://127.0.0.1:4321 > /dev/null 2>&1; then break; fi
    sleep 0.1
done
grep -q ready /run/ready || { cat /run/log; exit 1; }
kill -TERM $node
wait $node || { said "it stopped with $?"; exit 1; }

echo '# mine' >> /etc/weir/weir.toml
dpkg --force-confold --install /tmp/packages/later.deb
grep -q '# mine' /etc/weir/weir.toml || { said "the upgrade took the file"; exit 1; }

dpkg --remove weir
must_be ! -e /usr/bin/weir
must_be -e /etc/weir/weir.toml
must_be -d /var/lib/weir
dpkg --purge weir
must_be ! -e /etc/weir/weir.toml
must_be -d /var/lib/weir
must_be -e /etc/weir/cookie

dpkg --install /tmp/packages/later.deb
WEIR_PURGE_DATA=yes dpkg --purge weir
must_be ! -e /var/lib/weir
must_be ! -e /etc/weir
said "installed, ran, upgraded, removed, purged"
SCRIPT
exec chroot . sh /tmp/packages/inside.sh
