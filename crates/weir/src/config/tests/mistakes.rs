//! What a file may not say: each mistake is refused at its place.

use super::*;

#[test]
fn a_mistake_in_node_or_cluster_is_refused_at_its_place() {
    for (text, place, words) in [
        (
            "[nodes]",
            "1: nodes",
            "unknown key; accepted: node, cluster, limit, route",
        ),
        ("node = 1", "1: node", "found 1; accepted: a table"),
        (
            "[node]\nnam = \"a\"",
            "2: node.nam",
            "unknown key; accepted: name,",
        ),
        (
            "[node]\nname = \"a b\"",
            "2: node.name",
            "found \"a b\"; accepted: 1 to 64 letters",
        ),
        ("[node]\nname = \"\"", "2: node.name", "found \"\""),
        (
            "[node]\nname = 7",
            "2: node.name",
            "found 7; accepted: a string",
        ),
        (
            "[node]\ncookie = \"secret\"",
            "2: node.cookie",
            "unknown key",
        ),
        (
            "[node]\nhttp = \"no-such-host.invalid:4000\"",
            "2: node.http",
            "accepted: an address and a port",
        ),
        (
            "[node]\nhttp = \"127.0.0.1\"",
            "2: node.http",
            "found \"127.0.0.1\"",
        ),
        (
            "[node]\nhttp = \"0.0.0.0:4000\"",
            "2: node.http",
            "without a token",
        ),
        ("[node]\ncluster = \"x\"", "2: node.cluster", "found \"x\""),
        (
            "[node]\ncluster = \"0.0.0.0:1\"",
            "2: node.cluster",
            "cannot dial 0.0.0.0:1; accepted: --advertise",
        ),
        (
            "[node]\nadvertise = \"[::]:1\"",
            "2: node.advertise",
            "cannot dial [::]:1",
        ),
        (
            "[node]\njoin = \"a:1\"",
            "2: node.join",
            "accepted: an array of strings",
        ),
        (
            "[node]\njoin = [\"1.1.1.1:1\", \"a:1\"]",
            "2: node.join[1]",
            "found \"a:1\"; accepted: ADDR:PORT",
        ),
        (
            "[node]\njoin = [\"1.1.1.1:0\"]",
            "2: node.join[0]",
            "found \"1.1.1.1:0\"",
        ),
        (
            "[node]\njoin = [\"dns:weir\"]",
            "2: node.join[0]",
            "dns:NAME:PORT",
        ),
        ("[node]\nzone = \"a/b\"", "2: node.zone", "found \"a/b\""),
        (
            "[node]\ndrain_wait = \"5\"",
            "2: node.drain_wait",
            "found \"5\"; accepted: a whole number and ms, s,",
        ),
        (
            "[node]\nlog = \"yaml\"",
            "2: node.log",
            "found \"yaml\"; accepted: \"text\", \"json\"",
        ),
        (
            "[node]\ndata_dir = \"\"",
            "2: node.data_dir",
            "found \"\"; accepted: a directory",
        ),
        (
            "[cluster]\nreplica = 2",
            "2: cluster.replica",
            "unknown key; accepted: replicas, ack,",
        ),
        (
            "[cluster]\nreplicas = 8",
            "2: cluster.replicas",
            "found 8; accepted: a whole number from 0 to 7",
        ),
        (
            "[cluster]\nreplicas = -1",
            "2: cluster.replicas",
            "found -1",
        ),
        (
            "[cluster]\nreplicas = 1.5",
            "2: cluster.replicas",
            "found 1.5",
        ),
        (
            "[cluster]\nack = \"slow\"",
            "2: cluster.ack",
            "accepted: \"fast\", \"replicated\"",
        ),
        (
            "[cluster]\nmax_lag = 250",
            "2: cluster.max_lag",
            "found 250; accepted: a string",
        ),
        (
            "[cluster]\nmax_lag = \"250\"",
            "2: cluster.max_lag",
            "ms, s, m, h or d",
        ),
        (
            "[cluster]\nforget_after = \"1 hour\"",
            "2: cluster.forget_after",
            "\"0s\" never forgets",
        ),
        (
            "[cluster]\nstart_wait = \"soon\"",
            "2: cluster.start_wait",
            "\"0s\" does not wait",
        ),
        (
            "[cluster]\npartition = \"ap\"",
            "2: cluster.partition",
            "accepted: \"available\", \"quorum\"",
        ),
        (
            "[cluster]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "2: cluster.trusted_proxies[0]",
            "found \"10.0.0.0/33\"",
        ),
        ("[cluster]\nmax_keys = 0", "2: cluster.max_keys", "found 0"),
        (
            "[cluster]\nmax_memory = \"half\"",
            "2: cluster.max_memory",
            "from \"1%\" to \"100%\", or at least \"1MB\"",
        ),
    ] {
        check_refused(text, place, words);
    }
}

#[test]
fn a_mistake_in_a_limit_is_refused_at_its_place() {
    for (from, to, place, words) in [
        ("name = \"a\"\n", "", "1: limit[0]", "no `name`"),
        ("\"a\"", "\"a a\"", "2: limit[0].name", "found \"a a\""),
        (
            "algorithm = \"gcra\"\n",
            "",
            "1: limit[0]",
            "no `algorithm`; accepted: gcra,",
        ),
        (
            "\"gcra\"",
            "\"leaky\"",
            "3: limit[0].algorithm",
            "found \"leaky\"; accepted: gcra, token_bucket",
        ),
        (
            "\"gcra\"",
            "\"concurrency\"",
            "3: limit[0].algorithm",
            "\"concurrency\" is not in this version",
        ),
        ("limit = 5\n", "", "1: limit[0]", "no `limit`"),
        (
            "= 5",
            "= 0",
            "4: limit[0].limit",
            "found 0; accepted: a whole number from 1",
        ),
        ("= 5", "= \"5\"", "4: limit[0].limit", "found \"5\""),
        (
            "= 5",
            "= 9_999_999_999",
            "4: limit[0].limit",
            "found 9_999_999_999",
        ),
        (
            "\"gcra\"\nlimit = 5",
            "\"sliding_log\"\nlimit = 10_001",
            "4: limit[0].limit",
            "accepted: 1 to 10000",
        ),
        ("per = \"1m\"\n", "", "1: limit[0]", "no `per`"),
        (
            "\"1m\"",
            "\"1 m\"",
            "5: limit[0].per",
            "found \"1 m\"; accepted: a whole number and ms",
        ),
        (
            "\"1m\"",
            "\"0s\"",
            "5: limit[0].per",
            "accepted: 1ms to 366d",
        ),
        (
            "\"1m\"",
            "\"367d\"",
            "5: limit[0].per",
            "accepted: 1ms to 366d",
        ),
        (
            "\"1m\"",
            "\"1m\"\nburst = 0",
            "6: limit[0].burst",
            "found 0",
        ),
        (
            "\"gcra\"\nlimit",
            "\"fixed_window\"\nburst = 2\nlimit",
            "4: limit[0].burst",
            "fixed_window has no burst",
        ),
        (
            "\"1m\"",
            "\"1m\"\nanchor = \"epoch\"",
            "6: limit[0].anchor",
            "gcra has no anchor",
        ),
        (
            "\"gcra\"",
            "\"fixed_window\"\nanchor = \"noon\"",
            "4: limit[0].anchor",
            "accepted: \"epoch\", \"first_hit\", \"day\", \"week\", \"month\", \"year\"",
        ),
        (
            "\"gcra\"",
            "\"fixed_window\"\nanchor = \"month\"",
            "6: limit[0].per",
            "found \"1m\"; accepted: none, windows of the anchors day",
        ),
        (
            "\"1m\"",
            "\"1m\"\nzone = \"UTC\"",
            "6: limit[0].zone",
            "found \"UTC\"; accepted: none, zone goes with",
        ),
        (
            "algorithm = \"gcra\"\nlimit = 5\nper = \"1m\"",
            "algorithm = \"fixed_window\"\nlimit = 5\nanchor = \"day\"\nzone = \"Europe/Viena\"",
            "6: limit[0].zone",
            "the nearest is \"Europe/Vienna\"",
        ),
        (
            "algorithm = \"gcra\"\nlimit = 5\nper = \"1m\"",
            "algorithm = \"gcra\"\nlimit = 5\nanchor = \"day\"",
            "5: limit[0].anchor",
            "found day; accepted: none, gcra has no anchor",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"redis\"",
            "6: limit[0].strategy",
            "\"redis\" needs a section [redis]",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"raft\"\non_failure = \"owner\"",
            "7: limit[0].on_failure",
            "\"owner\" is for limits with strategy = \"redis\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"best\"",
            "6: limit[0].strategy",
            "found \"best\"; accepted: \"owner\", \"local\", \"redis\", \"raft\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\non_failure = \"open\"",
            "6: limit[0].on_failure",
            "accepted: \"deny\", \"allow\", \"owner\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\nkeep = \"yes\"",
            "6: limit[0].keep",
            "found \"yes\"; accepted: true or false",
        ),
        (
            "\"1m\"",
            "\"1m\"\nstrategy = \"local\"\nkeep = true",
            "7: limit[0].keep",
            "does not go with strategy = \"local\"",
        ),
        (
            "\"1m\"",
            "\"1m\"\ntop_keys = true",
            "6: limit[0].top_keys",
            "found true; accepted: false; true is for limits of tenants",
        ),
        (
            "\"1m\"",
            "\"1m\"\nwindow = \"1m\"",
            "6: limit[0].window",
            "unknown key; accepted: name, algorithm",
        ),
    ] {
        let text = LIMIT.replacen(from, to, 1);
        assert_ne!(text, LIMIT, "{from} is in the fixture");
        check_refused(&text, place, words);
    }
    check_refused(
        &format!("{LIMIT}{LIMIT}"),
        "7: limit[1].name",
        "this one is taken at weir.toml:2: limit[0].name",
    );
    check_refused("limit = [1]", "1: limit[0]", "found 1; accepted: a table");
}

#[test]
fn what_is_served_already_is_no_route() {
    let with = |path: &str| format!("{LIMIT}{}", ROUTE.replace("/x", path));
    for path in [
        "/v1/x",
        "/api/limits/x",
        "/auth/login",
        "/problems/x",
        "/throttle",
    ] {
        check_refused(&with(path), "7: route[0].path", "not one of the API's own");
    }
    // Pages are there where a service for many is.
    let service =
        "[service]\npublic_url = \"http://127.0.0.1:4000\"\n[node]\ndata_dir = \"data\"\n";
    for path in [
        "/login",
        "/dashboard",
        "/dashboard/x",
        "/assets/x",
        "/theme",
    ] {
        assert!(file(&with(path)).is_ok(), "{path}");
        check_refused(&(with(path) + service), "7: route[0].path", "or of a page");
    }
    for path in ["/", "/logins", "/x/login"] {
        assert!(file(&(with(path) + service)).is_ok(), "{path}");
    }
}

#[test]
fn a_mistake_in_a_route_is_refused_at_its_place() {
    for (from, to, place, words) in [
        ("path = \"/x\"\n", "", "6: route[0]", "no `path`"),
        ("\"/x\"", "\"x\"", "7: route[0].path", "begins with /"),
        (
            "\"/x\"",
            "\"/v1/check\"",
            "7: route[0].path",
            "not one of the API's own",
        ),
        ("\"/x\"", "\"/x?y\"", "7: route[0].path", "found \"/x?y\""),
        ("limit = \"a\"\nid", "id", "6: route[0]", "no `limit`"),
        (
            "limit = \"a\"\nid",
            "limit = \"b\"\nid",
            "8: route[0].limit",
            "found \"b\"; accepted: the name of a limit: a",
        ),
        (
            "identify = [{ peer = true }]\n",
            "",
            "6: route[0]",
            "no `identify`",
        ),
        (
            "[{ peer = true }]",
            "[]",
            "9: route[0].identify",
            "found []",
        ),
        (
            "[{ peer = true }]",
            "\"peer\"",
            "9: route[0].identify",
            "accepted: an array of tables",
        ),
        (
            "peer = true",
            "",
            "9: route[0].identify[0]",
            "0 keys; accepted: one key",
        ),
        (
            "peer = true",
            "peer = false",
            "9: route[0].identify[0].peer",
            "found false; accepted: true",
        ),
        (
            "peer = true",
            "peer = true, browser = true",
            "9: route[0].identify[0]",
            "2 keys; accepted: one key",
        ),
        (
            "peer = true",
            "ip = true",
            "9: route[0].identify[0].ip",
            "unknown key; accepted: header, query, cookie",
        ),
        (
            "peer = true",
            "header = \"X Id\"",
            "9: route[0].identify[0].header",
            "the name of a header",
        ),
        (
            "peer = true",
            "query = \"\"",
            "9: route[0].identify[0].query",
            "the name of a query parameter",
        ),
        (
            "}]",
            "}]\nanswer = \"hi\"",
            "10: route[0].answer",
            "accepted: \"page\", \"greeting\"",
        ),
        (
            "}]",
            "}]\nupstream = \"http://x\"",
            "10: route[0].upstream",
            "not in this version",
        ),
    ] {
        let route = ROUTE.replacen(from, to, 1);
        assert_ne!(route, ROUTE, "{from} is in the fixture");
        check_refused(&format!("{LIMIT}{route}"), place, words);
    }
    check_refused(
        &format!("{LIMIT}{ROUTE}{ROUTE}"),
        "11: route[1].path",
        "an earlier route has this one",
    );
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    check_refused("[cluster]\nreplicas = = 2", "2", "not TOML");
    assert_eq!(
        file("a = = 1\nb = ?\n[c").unwrap_err().len(),
        3,
        "one a line"
    );
    check_refused(
        "[cluster]\nack = \"fast\"\nack = \"fast\"",
        "3",
        "duplicate key",
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "[cluster]\nreplicas = 9\nmode = 1\n[[limit]]\nname = \"a\"\nalgorithm = \"gcra\"\nlimit = 0\nper = \"x\"\n\
                [[route]]\npath = \"/x\"\nlimit = \"a\"\nidentify = [{ peer = true }]\n";
    let told = Told {
        flags: "--http nowhere --redis nowhere --cluster nowhere --log x",
        file: text,
        ..Told::default()
    };
    let lines = told.check().unwrap_err();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("route")),
        "a route is not blamed for its limit: {lines:#?}"
    );
}

#[test]
fn all_that_goes_with_no_calendar_is_refused_at_once() {
    let limit = |name: &str, rest: &str| format!("[[limit]]\nname = \"{name}\"\n{rest}\n");
    let text = [
        limit(
            "a",
            "algorithm = \"fixed_window\"\nlimit = 0\nper = \"1d\"\nanchor = \"day\"\nzone = \"Mars\"",
        ),
        limit("b", "algorithm = \"gcra\"\nlimit = 1\nanchor = \"week\""),
        limit(
            "c",
            "algorithm = \"fixed_window\"\nlimit = 1\nper = \"1d\"\nzone = \"UTC\"",
        ),
        // What was meant decides whether the others go with it.
        limit(
            "d",
            "algorithm = \"fixed_window\"\nlimit = 1\nanchor = \"noon\"\nzone = \"UTC\"",
        ),
    ];
    let lines = file(&text.concat()).unwrap_err();
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    let expected = [
        "limit[0].limit",
        "limit[0].zone",
        "limit[0].per",
        "limit[1].anchor",
        "limit[2].zone",
        "limit[3].anchor",
    ];
    assert_eq!(places, expected, "{lines:#?}");
}

#[test]
fn one_bad_value_of_a_limit_does_not_hide_another() {
    let text = "[[limit]]\nname = \"a\"\nalgorithm = \"sliding_log\"\nlimit = 10_001\nper = \"367d\"\nburst = 2\n\
                anchor = \"epoch\"\n";
    let lines = file(text).unwrap_err();
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "limit[0].limit",
            "limit[0].per",
            "limit[0].burst",
            "limit[0].anchor"
        ]
    );
}

#[test]
fn what_no_algorithm_takes_is_told_beside_one_that_is_none() {
    let text = "[[limit]]\nname = \"a\"\nalgorithm = \"zz\"\nlimit = 1\nper = \"0s\"\nburst = 2\n";
    let lines = file(text).unwrap_err();
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(places, ["limit[0].algorithm", "limit[0].per"], "{lines:#?}");
}
