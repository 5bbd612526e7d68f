//! `[[rule]]`, `[grpc]` and `--grpc`.

use super::*;

const RULE: &str = "[[rule]]\ndomain = \"edge\"\nmatch = [{ key = \"ip\" }]\nlimit = \"a\"\n";

#[test]
fn a_rule_names_a_limit_of_the_file() {
    let config = file(&format!("{LIMIT}{RULE}")).unwrap();
    assert!(format!("{:?}", config.shared.grpc.rules).contains("edge"));
    assert_eq!(
        config.node.grpc, None,
        "nothing is served that was not asked for"
    );
    assert!(config.shared.grpc.tls.is_none());
}

#[test]
fn a_mistake_in_a_rule_is_refused_at_its_place() {
    // The limit has the first five lines, and a rule begins at the sixth.
    for (from, to, place, words) in [
        (
            RULE,
            "[[rule]]\nmatch = [{ key = \"ip\" }]\nlimit = \"a\"\n",
            "6: rule[0]",
            "no `domain`",
        ),
        ("\"edge\"", "\"\"", "7: rule[0].domain", "found \"\""),
        (
            "match = [{ key = \"ip\" }]\n",
            "",
            "6: rule[0]",
            "no `match`",
        ),
        (
            "[{ key = \"ip\" }]",
            "[]",
            "8: rule[0].match",
            "found 0 entries; accepted: 1 to 8",
        ),
        (
            "{ key = \"ip\" }",
            "{ value = \"1\" }",
            "8: rule[0].match[0]",
            "no `key`",
        ),
        (
            "{ key = \"ip\" }",
            "{ key = \"ip\", values = \"1\" }",
            "8: rule[0].match[0].values",
            "unknown key; accepted: key, value",
        ),
        (
            "{ key = \"ip\" }",
            "{ key = \"ip\", value = \"1*2\" }",
            "8: rule[0].match",
            "found \"1*2\"; accepted: a value, one that ends in its only *, or none",
        ),
        ("limit = \"a\"\n", "", "6: rule[0]", "no `limit`"),
        (
            "limit = \"a\"\n",
            "limit = \"b\"\n",
            "9: rule[0].limit",
            "found \"b\"; accepted: the name of a limit: a",
        ),
    ] {
        let rule = match from {
            RULE => to.to_owned(),
            from => RULE.replace(from, to),
        };
        check_refused(&format!("{LIMIT}{rule}"), place, words);
    }
}

#[test]
fn a_mistake_in_grpc_is_refused_at_its_place() {
    for (text, place, words) in [
        (
            "[grpc]\nconfig = []",
            "2: grpc.config",
            "unknown key; accepted: ratelimit_config, ",
        ),
        (
            "[grpc]\nkeepalive = \"1x\"",
            "2: grpc.keepalive",
            "found \"1x\"",
        ),
        (
            "[grpc]\ncert_file = \"a.pem\"",
            "2: grpc.cert_file",
            "not enough for TLS",
        ),
        (
            "[grpc]\nclient_ca_file = \"a.pem\"",
            "2: grpc.client_ca_file",
            "accepted: cert_file and key_file",
        ),
        (
            "[grpc]\ncert_file = \"/none.pem\"\nkey_file = \"/none.key\"",
            "2: grpc.cert_file",
            "reading /none.pem: ",
        ),
        (
            "[node]\ngrpc = \"x\"",
            "2: node.grpc",
            "accepted: an address and a port",
        ),
        (
            "[node]\ngrpc = \"0.0.0.0:4001\"",
            "2: node.grpc",
            "without a token",
        ),
    ] {
        check_refused(text, place, words);
    }
}

#[test]
fn files_of_envoyproxy_ratelimit_are_read_with_the_file_and_refused_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.yaml");
    let config = format!("[grpc]\nratelimit_config = [{path:?}]\n");
    let name = path.display();
    assert_eq!(
        file(&config).unwrap_err(),
        [format!(
            "{name}: cannot be read: No such file or directory (os error 2)"
        )]
    );
    fs::write(
        &path,
        "domain: edge\ndescriptors:\n  - key: a\n    quota_mode: true\n",
    )
    .unwrap();
    let problems = file(&config).unwrap_err();
    let expected = format!("{name}:4: descriptors[0].quota_mode: not in this version");
    assert!(
        problems.len() == 1 && problems[0].starts_with(&expected),
        "{problems:?}"
    );
    fs::write(&path, "domain: edge\n").unwrap();
    assert!(file(&config).is_ok());
    // A domain is told in one place.
    let rule = format!("{LIMIT}{RULE}{config}");
    let problems = file(&rule).unwrap_err();
    assert_eq!(
        problems,
        [format!(
            "{name}:1: domain: the domain \"edge\" again, after a [[rule]]; accepted: a domain of its own"
        )]
    );
}

#[test]
fn where_it_is_served_is_told_as_everything_of_a_node() {
    let told = Told {
        flags: "--grpc 127.0.0.1:1",
        variables: &[("WEIR_GRPC", "127.0.0.1:2")],
        file: "[node]\ngrpc = \"127.0.0.1:3\"",
    };
    let port = |told: &Told<'_>| told.check().unwrap().node.grpc.unwrap().port();
    assert_eq!(port(&told), 1);
    assert_eq!(port(&Told { flags: "", ..told }), 2);
    assert_eq!(
        port(&Told {
            flags: "",
            variables: &[],
            ..told
        }),
        3
    );
    let open = Told {
        flags: "--grpc 0.0.0.0:1 --insecure",
        ..Told::default()
    };
    assert!(open.check().is_ok());
}
