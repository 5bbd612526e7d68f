//! Flags, variables, files and defaults over each other.

use std::net::SocketAddr;

use super::*;

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_file() {
    let name = |flags, variables, file| {
        Told {
            flags,
            variables,
            file,
        }
        .check()
        .unwrap()
        .node
        .name
    };
    let file = "[node]\nname = \"file\"";
    assert_eq!(
        name("--name flag", &[("WEIR_NAME", "variable")], file),
        "flag"
    );
    assert_eq!(name("", &[("WEIR_NAME", "variable")], file), "variable");
    assert_eq!(name("", &[], file), "file");

    let join = |flags, variables, file| {
        Told {
            flags,
            variables,
            file,
        }
        .check()
        .unwrap()
        .node
        .join
        .len()
    };
    let file = "[node]\njoin = [\"1.1.1.1:1\"]";
    assert_eq!(
        join(
            "--join 1.1.1.1:1 --join 1.1.1.1:2 --join 1.1.1.1:3",
            &[("WEIR_JOIN", "1.1.1.1:1")],
            file
        ),
        3
    );
    assert_eq!(join("", &[("WEIR_JOIN", "1.1.1.1:1, 1.1.1.1:2")], file), 2);
    assert_eq!(join("", &[], file), 1);
}

#[test]
fn the_address_that_others_dial_may_be_in_a_variable() {
    fn told(flags: &str, variables: &[(&str, &str)]) -> Result<SocketAddr, Vec<String>> {
        let told = Told {
            flags,
            variables,
            ..Told::default()
        };
        told.check().map(|config| config.node.advertise)
    }
    let flag = "--cluster [::]:4100 --advertise env:POD_IP:4100";
    for (variable, address) in [
        ("10.0.0.7", "10.0.0.7:4100"),
        ("fd00::7", "[fd00::7]:4100"),
        ("[fd00::7]", "[fd00::7]:4100"),
    ] {
        let advertise = told(flag, &[("POD_IP", variable)]).unwrap();
        assert_eq!(advertise, address.parse().unwrap());
    }
    let refused = |flags: &str, variables: &[(&str, &str)], words: &[&str]| {
        let lines = told(flags, variables).unwrap_err();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for word in words {
            assert!(lines[0].contains(word), "{lines:?}");
        }
    };
    refused(
        flag,
        &[],
        &["POD_IP, which --advertise names", "found \"\""],
    );
    for variable in ["[fd00::7", "pod-7", "10.0.0.7:4100"] {
        refused(flag, &[("POD_IP", variable)], &["an IP address"]);
    }
    refused(flag, &[("POD_IP", "::")], &["cannot dial [::]:4100"]);
    for flag in ["--advertise env:POD_IP", "--advertise env:POD_IP:x"] {
        refused(flag, &[("POD_IP", "10.0.0.7")], &["env:NAME:PORT"]);
    }
}

#[test]
fn nobody_waits_when_stopped_unless_told_to() {
    let wait = |flags, variables, file| {
        let told = Told {
            flags,
            variables,
            file,
        };
        told.check().unwrap().node.drain_wait.as_millis()
    };
    let file = "[node]\ndrain_wait = \"1s\"";
    let variable = [("WEIR_DRAIN_WAIT", "2s")];
    assert_eq!(wait("", &[], ""), 0);
    assert_eq!(wait("", &[], file), 1_000);
    assert_eq!(wait("", &variable, file), 2_000);
    assert_eq!(wait("--drain-wait 3s", &variable, file), 3_000);
}

#[test]
fn so_many_nodes_are_expected_as_the_first_layer_says() {
    let expect = |flags, variables, file| {
        let told = Told {
            flags,
            variables,
            file,
        };
        told.check().unwrap().node.expect
    };
    let file = "[node]\nexpect = 3";
    let variables: &[_] = &[("WEIR_EXPECT", "5")];
    assert_eq!(expect("--expect 7", variables, file), Some(7));
    assert_eq!(expect("", variables, file), Some(5));
    assert_eq!(expect("", &[], file), Some(3));
    assert_eq!(expect("", &[], ""), None);
    for number in ["0", "65", "-1", "three", ""] {
        let told = Told {
            variables: &[("WEIR_EXPECT", number)],
            ..Told::default()
        };
        let lines = told.check().unwrap_err();
        let accepted = "a number of nodes, 1 to 64";
        assert!(
            lines[0].starts_with("WEIR_EXPECT: ") && lines[0].contains(accepted),
            "{lines:?}"
        );
    }
}

#[test]
fn port_moves_only_the_default() {
    let http = |flags, variables| {
        Told {
            flags,
            variables,
            file: "",
        }
        .check()
        .map(|config| config.node.http.to_string())
    };
    assert_eq!(http("", &[("PORT", "4001")]).unwrap(), "127.0.0.1:4001");
    assert_eq!(
        http("--http 127.0.0.2:5000", &[("PORT", "4001")]).unwrap(),
        "127.0.0.2:5000"
    );
    assert_eq!(
        http("", &[("PORT", "4001"), ("WEIR_HTTP", "[::1]:5000")]).unwrap(),
        "[::1]:5000"
    );
    let refused = http("", &[("PORT", "http")]).unwrap_err();
    assert_eq!(
        refused,
        ["PORT: found \"http\"; accepted: a port, 0 to 65535"]
    );
}

#[test]
fn beyond_loopback_a_token_is_wanted_or_insistence() {
    let open = |flags, variables| {
        Told {
            flags,
            variables,
            file: "",
        }
        .check()
        .map(|_| ())
    };
    assert!(
        open("--http 0.0.0.0:80", &[]).unwrap_err()[0]
            .starts_with("--http: 0.0.0.0:80 is open to other machines")
    );
    assert!(open("", &[("WEIR_HTTP", "10.0.0.1:80")]).unwrap_err()[0].starts_with("WEIR_HTTP: "));
    assert!(
        open("--redis 0.0.0.0:6379", &[]).unwrap_err()[0]
            .starts_with("--redis: 0.0.0.0:6379 is open to other machines")
    );
    assert!(open("", &[("WEIR_REDIS", "10.0.0.1:1")]).unwrap_err()[0].starts_with("WEIR_REDIS: "));
    assert!(open("--redis [::1]:6379", &[]).is_ok());
    assert!(open("--redis 0.0.0.0:6379 --insecure", &[]).is_ok());
    assert!(open("--redis 0.0.0.0:6379 --api-token t", &[]).is_ok());
    assert!(open("--http [::1]:80", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80 --insecure", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80", &[("WEIR_INSECURE", "1")]).is_ok());
    assert!(open("--http 0.0.0.0:80 --api-token t", &[]).is_ok());
    assert!(open("--http 0.0.0.0:80", &[("WEIR_API_TOKEN_FILE", "/t")]).is_ok());
    assert!(open("", &[("WEIR_INSECURE", "maybe")]).is_err());
}

#[test]
fn the_cookie_comes_from_one_place() {
    let cookie = |flags, variables| {
        let told = Told {
            flags,
            variables,
            file: "[node]\ncookie_file = \"/file\"",
        };
        told.check().map(|config| config.node.cookie)
    };
    let secret = |text| SecretSource::Given(crate::secret::Secret::new(text).unwrap());
    assert_eq!(cookie("", &[]).unwrap(), SecretSource::File("/file".into()));
    assert_eq!(cookie("", &[("WEIR_COOKIE", "v")]).unwrap(), secret("v"));
    assert_eq!(
        cookie("--cookie f", &[("WEIR_COOKIE_FILE", "/v")]).unwrap(),
        secret("f")
    );
    assert_eq!(
        cookie("--cookie-file /f", &[("WEIR_COOKIE", "v")]).unwrap(),
        SecretSource::File("/f".into())
    );
    let both = cookie("--cookie f --cookie-file /f", &[]).unwrap_err();
    assert_eq!(
        both,
        ["--cookie: given together with --cookie-file; accepted: one of them"]
    );
    assert_eq!(cookie("", &[("WEIR_COOKIE", " ")]).unwrap_err().len(), 1);
}

#[test]
fn a_data_dir_is_read_wherever_it_is_given() {
    let data_dir = |flags, variables, file| {
        let told = Told {
            flags,
            variables,
            file,
        };
        told.check().map(|config| config.node.data_dir)
    };
    let (variable, file) = ([("WEIR_DATA_DIR", "/v")], "[node]\ndata_dir = \"/f\"");
    let flagged = data_dir("--data-dir /d", &variable, file).unwrap();
    assert_eq!(flagged, Some("/d".into()));
    assert_eq!(data_dir("", &variable, file).unwrap(), Some("/v".into()));
    assert_eq!(data_dir("", &[], file).unwrap(), Some("/f".into()));
    assert_eq!(data_dir("", &[], "").unwrap(), None);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.toml");
    let around = Surroundings {
        variable: &|_| None,
        host_name: "host".to_owned(),
        home: None,
    };
    let args = NodeArgs {
        config: Some(path.clone()),
        cookie: Some("c".to_owned()),
        ..NodeArgs::default()
    };
    let error = Config::load(&args, &around).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("reading the configuration {}", path.display())
    );

    fs::write(&path, "[node]\nname = \"from-file\"").unwrap();
    assert_eq!(Config::load(&args, &around).unwrap().node.name, "from-file");
}
