//! Limits that are not counted by the owner, and the sections that they need.

use super::*;

/// A limit that is counted in Redis, and the section that follows.
fn redis_file(section: &str) -> String {
    format!("{LIMIT}strategy = \"redis\"\n{section}")
}

/// Seen: with limits of `raft` the dead were let go of after an hour, and their votes with them.
#[test]
fn whoever_has_a_vote_is_not_let_go_of() {
    let forget_after = |text: &str| file(text).unwrap().shared.forget_after();
    let an_hour = Some(Duration::from_secs(3_600));
    assert_eq!(forget_after(LIMIT), an_hour);
    assert_eq!(
        forget_after(&format!("[cluster]\nforget_after = \"0s\"\n{LIMIT}")),
        None
    );
    assert_eq!(
        forget_after(&format!("[cluster]\npartition = \"quorum\"\n{LIMIT}")),
        None
    );
    for (strategy, expected) in [("raft", None), ("local", an_hour), ("owner", an_hour)] {
        let text = format!("{LIMIT}strategy = \"{strategy}\"\n");
        assert_eq!(forget_after(&text), expected, "{strategy}");
    }
}

#[test]
fn each_limit_names_its_strategy() {
    let text = redis_file(
        r#"
        on_failure = "owner"
        [[limit]]
        name = "b"
        algorithm = "sliding_log"
        limit = 1
        per = "1s"
        strategy = "raft"
        [[limit]]
        name = "c"
        algorithm = "leaky_bucket"
        limit = 1
        per = "1s"
        strategy = "local"
        [redis]
        url = "redis://:secret@10.0.0.9:6379/1"
        timeout = "100ms"
        start_without_redis = true
        [raft]
        data_dir = "/var/lib/weir"
        "#,
    );
    let config = file(&text).unwrap();
    let strategies: Vec<_> = config
        .shared
        .limits
        .iter()
        .map(|limit| limit.strategy)
        .collect();
    assert_eq!(
        strategies,
        [Strategy::Redis, Strategy::Raft, Strategy::Local]
    );
    assert_eq!(config.shared.limits[0].on_failure, FailMode::Owner);
    let redis = config.shared.redis.unwrap();
    assert_eq!(
        redis.servers,
        Servers::One("redis://:secret@10.0.0.9:6379/1".into())
    );
    assert_eq!(
        (redis.timeout, redis.start_without_redis),
        (Duration::from_millis(100), true)
    );
    assert_eq!(config.shared.raft.data_dir, Some("/var/lib/weir".into()));

    let text = redis_file("[redis]\nurls = [\"redis://a\", \"rediss://b:1\"]");
    let redis = file(&text).unwrap().shared.redis.unwrap();
    assert_eq!(
        redis.servers,
        Servers::Cluster(vec!["redis://a".into(), "rediss://b:1".into()])
    );
    assert_eq!(
        (redis.timeout, redis.start_without_redis),
        (Duration::from_millis(300), false)
    );
}

#[test]
fn a_mistake_about_redis_is_refused_at_its_place_and_without_its_password() {
    for (section, place, words) in [
        ("[redis]\n", "7: redis", "found neither url nor urls"),
        (
            "[redis]\nurl = \"http://u:secret@h\"",
            "8: redis.url",
            "found no address of a Redis; accepted: redis://",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nurls = [\"redis://b\"]",
            "8: redis.url",
            "found both url and urls",
        ),
        (
            "[redis]\nurl = \"redis://a\"\ntimeout = \"0s\"",
            "9: redis.timeout",
            "from 1ms to 3s",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nstart_without_redis = \"yes\"",
            "9: redis.start_without_redis",
            "accepted: true or false",
        ),
        (
            "[redis]\nurl = \"redis://a\"\nhost = \"b\"",
            "9: redis.host",
            "unknown key; accepted: url, urls, timeout, ca_file, start_without_redis",
        ),
        (
            "[redis]\nurl = \"redis://a\"\n[raft]\ndata_dir = \"\"",
            "10: raft.data_dir",
            "accepted: a directory",
        ),
    ] {
        let text = redis_file(section);
        check_refused(&text, place, words);
        let lines = file(&text).unwrap_err();
        assert!(!lines.concat().contains("secret"), "{lines:?}");
    }
}

#[test]
fn a_variable_says_where_redis_is() {
    let told = |file: &str, url: &str| {
        let variables = [("WEIR_REDIS_URL", url)];
        let told = Told {
            variables: &variables,
            file,
            ..Told::default()
        };
        told.check()
    };
    let file = redis_file("[redis]\nurl = \"redis://a\"\ntimeout = \"1s\"");
    let redis = told(&file, "redis://b").unwrap().shared.redis.unwrap();
    assert_eq!(redis.servers, Servers::One("redis://b".into()));
    assert_eq!(redis.timeout, Duration::from_secs(1));
    let redis = told(&redis_file(""), "redis://b, redis://c").unwrap();
    assert_eq!(
        redis.shared.redis.unwrap().servers,
        Servers::Cluster(vec!["redis://b".into(), "redis://c".into()])
    );
    let lines = told(&file, "http://:secret@b").unwrap_err();
    assert!(lines[0].starts_with("WEIR_REDIS_URL: "), "{lines:?}");
    assert!(!lines.concat().contains("secret"), "{lines:?}");
}
