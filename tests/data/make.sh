# Makes the data directory `data` of a node, with something of all that is kept. Prints what is asked for by a test.
# WEIR names the program. Run in an empty folder beside weir.toml.
set -eu
"$WEIR" node --name oskar --cookie wojtyra --config weir.toml --data-dir data --http 127.0.0.1:4555 --cluster 127.0.0.1:4556 &
node=$!
until curl -sf localhost:4555/ready >/dev/null; do sleep 0.1; done
operator() { "$WEIR" "$@" --url http://127.0.0.1:4555 --cookie wojtyra; }
ask() { curl -sf -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"; echo; }

tenant=$(operator tenant create Acme --json | jq -r .id)
key=$(operator key create --tenant "$tenant" --name edge --scope check --scope limits.write --scope usage.read)
revoked=$(operator key create --tenant "$tenant" --name old)
operator key revoke "key_$(echo "$revoked" | cut -c10-21)" --tenant "$tenant"
ask -X PUT localhost:4555/v1/limits/daily -d '{"algorithm":"sliding_log","limit":10,"per":"1d"}'
ask -X PUT localhost:4555/v1/limits/gone -d '{"algorithm":"sliding_log","limit":10,"per":"1d"}'
ask -X DELETE localhost:4555/v1/limits/gone
ask localhost:4555/api/limits -d '{"key":"user123","limit":10,"interval":"1d","algorithm":"token_bucket"}'
for limit in gcra fixed_window sliding_log sliding_counter; do operator check --limit $limit --cost 3 ada; done
ask localhost:4555/v1/check -d '{"limit":"daily","key":"ada","cost":4}'
ask 'localhost:4555/api/check?key=user123'
kill -TERM $node
wait $node
echo "made at $(date +%s), API key $key, revoked $revoked"
