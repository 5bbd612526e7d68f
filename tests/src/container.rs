//! Containers without an engine: the last stage of the `Dockerfile`, laid out in a folder and entered by `chroot`, as its user, with
//! a root that cannot be written to, in a network of its own.
//!
//! What is not there is the base image: its libraries are taken from this system, those alone that are known to be in it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::deployed::project;
use crate::node::program;

/// What `gcr.io/distroless/cc-debian12` has of what a program is linked to.
const LIBRARIES: [&str; 8] = [
    "ld-linux",
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libdl.so",
    "librt.so",
    "libpthread.so",
    "libstdc++.so",
];

/// The last stage of the `Dockerfile`.
#[derive(Debug)]
pub struct Image {
    root: TempDir,
    user: String,
    variables: Vec<(String, String)>,
    entrypoint: Vec<String>,
    /// The command of its `HEALTHCHECK`.
    pub health: Vec<String>,
    /// Where containers have a volume of their own.
    pub volumes: Vec<String>,
}

/// One instruction of a `Dockerfile`: its word, and what follows.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instruction = |line: &str| {
        let (word, rest) = line.trim().split_once(' ')?;
        Some((word.to_owned(), rest.trim().to_owned()))
    };
    joined.lines().filter_map(instruction).collect()
}

fn list(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

impl Image {
    /// Lays it out. `arguments` are those of the build.
    ///
    /// # Panics
    ///
    /// When the `Dockerfile` says what is not understood here.
    #[must_use]
    pub fn new(arguments: &[(&str, &str)]) -> Self {
        let text = fs::read_to_string(project().join("Dockerfile")).expect("a Dockerfile");
        let instructions = instructions(&text);
        let last = instructions.iter().rposition(|(word, _)| word == "FROM");
        let mut image = Self {
            root: TempDir::with_prefix("weir-e2e-image-").expect("a temporary folder"),
            user: String::new(),
            // As the base image has it.
            variables: vec![(
                "PATH".into(),
                "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            )],
            entrypoint: Vec::new(),
            health: Vec::new(),
            volumes: Vec::new(),
        };
        fs::set_permissions(image.root(), fs::Permissions::from_mode(0o755)).expect("chmod");
        for folder in ["proc", "tmp", "etc"] {
            fs::create_dir(image.root().join(folder)).expect("a new folder");
        }
        let mut given: Vec<(String, String)> = Vec::new();
        for (word, rest) in &instructions[last.expect("a last stage") + 1..] {
            let rest = given.iter().fold(rest.clone(), |rest, (name, value)| {
                rest.replace(&format!("${{{name}}}"), value)
            });
            match word.as_str() {
                "ARG" => {
                    let (name, default) = rest.split_once('=').expect("a default");
                    let told = arguments.iter().find(|(told, _)| *told == name);
                    let value = told.map_or(default, |(_, value)| value);
                    given.push((name.to_owned(), value.to_owned()));
                }
                "ENV" => image.variables.extend(rest.split_whitespace().map(|pair| {
                    let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                    (name.to_owned(), value.to_owned())
                })),
                "COPY" => image.copy(&rest),
                "USER" => image.user = rest,
                "VOLUME" => image.volumes = list(&rest),
                "ENTRYPOINT" => image.entrypoint = list(&rest),
                "HEALTHCHECK" => {
                    let (_, command) = rest.split_once("CMD ").expect("a command");
                    image.health = list(command);
                }
                // Said to engines and people.
                "LABEL" | "WORKDIR" | "EXPOSE" | "STOPSIGNAL" | "CMD" => {}
                other => panic!("{other} is not understood here"),
            }
        }
        image
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    /// The place in it of a path.
    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// What the first stage has put below `/out`: the program, and folders, which nodes find empty. What people read is left out.
    fn copy(&self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [options @ .., from, to] = &words[..] else {
            panic!("COPY {rest}");
        };
        assert_eq!(*from, format!("/out{to}"));
        if *to == "/usr/bin/weir" {
            return self.install(&PathBuf::from(program()));
        }
        if to.starts_with("/usr/share/doc/") {
            return;
        }
        let folder = self.at(to);
        fs::create_dir_all(&folder).expect("a new folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("chmod");
        let owner = options
            .iter()
            .find_map(|option| option.strip_prefix("--chown="));
        let ids: Vec<u32> = owner
            .map(|owner| {
                owner
                    .split(':')
                    .map(|id| id.parse().expect("an id"))
                    .collect()
            })
            .unwrap_or_default();
        chown(&folder, ids.first().copied(), ids.get(1).copied()).expect("chown, as root");
    }

    fn install(&self, program: &Path) {
        let linked = Command::new("ldd").arg(program).output().expect("ldd");
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        for library in linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let name = library.rsplit('/').next().expect("a name");
            let known = LIBRARIES.iter().any(|known| name.starts_with(known));
            assert!(known, "the base image has no {library}");
            self.put(Path::new(library), library);
        }
        self.put(program, "/usr/bin/weir");
    }

    fn make_file(at: &Path) {
        fs::create_dir_all(at.parent().expect("a folder")).expect("a new folder");
        fs::write(at, "").expect("a new file");
    }

    fn put(&self, file: &Path, to: &str) {
        let to = self.at(to);
        Self::make_file(&to);
        fs::copy(file, &to).unwrap_or_else(|error| panic!("copying {}: {error}", file.display()));
    }

    /// Makes a volume as an engine does: a folder with the owner and the mode of what it will hide.
    ///
    /// # Panics
    ///
    /// Without root.
    pub fn make_volume(&self, folder: &Path, target: &str) {
        if folder.exists() {
            return;
        }
        fs::create_dir_all(folder).expect("a new folder");
        if let Ok(hidden) = fs::metadata(self.at(target)) {
            fs::set_permissions(folder, hidden.permissions()).expect("chmod");
            chown(folder, Some(hidden.uid()), Some(hidden.gid())).expect("chown, as root");
        }
    }
}

/// A container that is to be started, or has been.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    /// What it is made of.
    pub image: &'a Image,
    /// The network namespace that it lives in.
    pub namespace: String,
    /// Its `/etc/hosts`.
    pub hosts: PathBuf,
    /// Variables besides the image's.
    pub variables: Vec<(String, String)>,
    /// What is mounted, where, and whether it can be written to.
    pub mounts: Vec<(PathBuf, String, bool)>,
}

impl Container<'_> {
    /// The entrypoint with these arguments, in it.
    #[must_use]
    pub fn run(&self, arguments: &[String]) -> Command {
        self.enter(&[&self.image.entrypoint, arguments].concat())
    }

    /// Whether a command in it ends well; what it said.
    ///
    /// # Errors
    ///
    /// What it said on stderr, when it does not.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn does(&self, command: &[String]) -> Result<String, String> {
        let output = self.enter(command).output().expect("entering a container");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Each in mounts of its own, which go with it.
    fn enter(&self, command: &[String]) -> Command {
        let root = self.image.root().display().to_string();
        let hosts = (self.hosts.clone(), "/etc/hosts".to_owned(), false);
        let mut script = format!(
            "set -e; mount --bind {root} {root}; mount -o remount,bind,ro {root}; mount --rbind /proc {root}/proc; \
             mount -t tmpfs -o mode=1777 tmpfs {root}/tmp;"
        );
        for (from, to, writable) in self.mounts.iter().chain([&hosts]) {
            let at = self.image.at(to);
            // Engines make what is mounted over.
            match from.is_dir() {
                true => fs::create_dir_all(&at).expect("a new folder"),
                false if at.exists() => {}
                false => Image::make_file(&at),
            }
            let at = at.display();
            script.push_str(&format!(" mount --bind {} {at};", from.display()));
            if !writable {
                script.push_str(&format!(" mount -o remount,bind,ro {at};"));
            }
        }
        script.push_str(r#" exec env -i "$@""#);
        let mut enter = Command::new("ip");
        // Which replaces itself with what it starts, in mounts of its own.
        enter.args(["netns", "exec", &self.namespace]);
        enter.args(["sh", "-c", &script, "sh"]);
        for (name, value) in self.image.variables.iter().chain(&self.variables) {
            enter.arg(format!("{name}={value}"));
        }
        enter.arg("chroot");
        enter.arg(format!("--userspec={}", self.image.user));
        enter.arg(root).args(command).stdin(Stdio::null());
        enter
    }
}
