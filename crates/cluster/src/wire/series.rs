//! What nodes tell each other of what they have decided, for those who watch.

use ::series::{Asked, NamedTotal, Point, Sample, Told, TopKey, TopKeys, Total, Window};
use serde::{Deserialize, Serialize};

use super::WireError;

/// [`Asked`]
#[derive(Serialize, Deserialize)]
enum WireAsked {
    Since {
        after: Option<u32>,
        namespaces: Vec<String>,
    },
    Points {
        namespace: String,
        limit: Option<String>,
        /// Its name.
        window: String,
    },
    Top {
        namespace: String,
        limit: String,
    },
}

/// [`Told`]
#[derive(Serialize, Deserialize)]
enum WireTold {
    Since {
        until: u32,
        samples: Vec<WireSample>,
    },
    Points {
        points: Vec<(u32, WireTotal)>,
        limits: Vec<(String, WireTotal)>,
        api_keys: Vec<(String, WireTotal)>,
    },
    Top {
        keys: Vec<WireTopKey>,
        rest: u64,
    },
}

/// [`TopKey`]: the key as clients gave it, allowed, denied, by how much that may be too large.
type WireTopKey = (String, u64, u64, u64);

/// [`Sample`]
#[derive(Serialize, Deserialize)]
struct WireSample {
    all: WireTotal,
    limits: Vec<(String, WireTotal)>,
}

/// [`Total`]: allowed, denied, half of them, 99 of a hundred.
type WireTotal = (u64, u64, u32, u32);

fn put_total(total: Total) -> WireTotal {
    let Total {
        allowed,
        denied,
        p50_micros,
        p99_micros,
    } = total;
    (allowed, denied, p50_micros, p99_micros)
}

fn total((allowed, denied, p50_micros, p99_micros): WireTotal) -> Total {
    Total {
        allowed,
        denied,
        p50_micros,
        p99_micros,
    }
}

fn put_named(totals: &[NamedTotal]) -> Vec<(String, WireTotal)> {
    let totals = totals.iter();
    totals
        .map(|of| (of.name.to_string(), put_total(of.total)))
        .collect()
}

fn named(totals: Vec<(String, WireTotal)>) -> Vec<NamedTotal> {
    let totals = totals.into_iter().map(|(name, of)| NamedTotal {
        name: name.into(),
        total: total(of),
    });
    totals.collect()
}

fn put_top_key(of: &TopKey) -> WireTopKey {
    let TopKey {
        key,
        allowed,
        denied,
        error,
    } = of;
    (key.to_string(), *allowed, *denied, *error)
}

fn top_key((key, allowed, denied, error): WireTopKey) -> TopKey {
    TopKey {
        key: key.into(),
        allowed,
        denied,
        error,
    }
}

/// The form of a question.
#[must_use]
pub fn encode_asked(asked: &Asked) -> Vec<u8> {
    let wire = match asked {
        Asked::Since { after, namespaces } => WireAsked::Since {
            after: *after,
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
        },
        Asked::Points {
            namespace,
            limit,
            window,
        } => WireAsked::Points {
            namespace: namespace.to_string(),
            limit: limit.as_ref().map(ToString::to_string),
            window: window.name().to_owned(),
        },
        Asked::Top { namespace, limit } => WireAsked::Top {
            namespace: namespace.to_string(),
            limit: limit.to_string(),
        },
    };
    postcard::to_allocvec(&wire).expect("these values have a serial form")
}

/// The question of that form.
///
/// # Errors
///
/// It is none.
pub fn decode_asked(bytes: &[u8]) -> Result<Asked, WireError> {
    let wire = postcard::from_bytes(bytes).map_err(|_| WireError::Malformed {
        what: "a question of series",
    })?;
    Ok(match wire {
        WireAsked::Since { after, namespaces } => Asked::Since {
            after,
            namespaces: namespaces.into_iter().map(Into::into).collect(),
        },
        WireAsked::Points {
            namespace,
            limit,
            window,
        } => Asked::Points {
            namespace: namespace.into(),
            limit: limit.map(Into::into),
            window: Window::of(&window).ok_or(WireError::Malformed { what: "a window" })?,
        },
        WireAsked::Top { namespace, limit } => Asked::Top {
            namespace: namespace.into(),
            limit: limit.into(),
        },
    })
}

/// The form of an answer.
#[must_use]
pub fn encode_told(told: &Told) -> Vec<u8> {
    let wire = match told {
        Told::Since { until, samples } => WireTold::Since {
            until: *until,
            samples: samples
                .iter()
                .map(|sample| WireSample {
                    all: put_total(sample.all),
                    limits: put_named(&sample.limits),
                })
                .collect(),
        },
        Told::Points {
            points,
            limits,
            api_keys,
        } => WireTold::Points {
            points: points
                .iter()
                .map(|point| (point.at, put_total(point.total)))
                .collect(),
            limits: put_named(limits),
            api_keys: put_named(api_keys),
        },
        Told::Top(TopKeys { keys, rest }) => WireTold::Top {
            keys: keys.iter().map(put_top_key).collect(),
            rest: *rest,
        },
    };
    postcard::to_allocvec(&wire).expect("these values have a serial form")
}

/// The answer of that form.
///
/// # Errors
///
/// It is none: the asked is of a version that does not understand.
pub fn decode_told(bytes: &[u8]) -> Result<Told, WireError> {
    let wire = postcard::from_bytes(bytes).map_err(|_| WireError::Malformed {
        what: "what series tell",
    })?;
    Ok(match wire {
        WireTold::Since { until, samples } => Told::Since {
            until,
            samples: samples
                .into_iter()
                .map(|sample| Sample {
                    all: total(sample.all),
                    limits: named(sample.limits),
                })
                .collect(),
        },
        WireTold::Points {
            points,
            limits,
            api_keys,
        } => Told::Points {
            points: points
                .into_iter()
                .map(|(at, of)| Point {
                    at,
                    total: total(of),
                })
                .collect(),
            limits: named(limits),
            api_keys: named(api_keys),
        },
        WireTold::Top { keys, rest } => Told::Top(TopKeys {
            keys: keys.into_iter().map(top_key).collect(),
            rest,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Total = Total {
        allowed: 1,
        denied: 20_000,
        p50_micros: 300,
        p99_micros: u32::MAX,
    };

    fn login() -> NamedTotal {
        NamedTotal {
            name: "login".into(),
            total: TOTAL,
        }
    }

    #[test]
    fn what_is_asked_arrives() {
        let since = |after| Asked::Since {
            after,
            namespaces: vec!["tn_a".into(), "tn_b".into()],
        };
        let points = Window::ALL.into_iter().map(|window| Asked::Points {
            namespace: "tn_a".into(),
            limit: (window == Window::Day).then(|| "login".into()),
            window,
        });
        let top = Asked::Top {
            namespace: "tn_a".into(),
            limit: "login".into(),
        };
        for asked in points.chain([since(None), since(Some(1_800_000_000)), top]) {
            assert_eq!(decode_asked(&encode_asked(&asked)).unwrap(), asked);
        }
        assert!(decode_asked(&[]).is_err());
        assert!(decode_asked(&[9, 9]).is_err());
    }

    #[test]
    fn what_is_told_arrives() {
        let sample = Sample {
            all: TOTAL,
            limits: vec![login()],
        };
        let point = Point {
            at: 1_800_000_000,
            total: TOTAL,
        };
        for told in [
            Told::Since {
                until: 5,
                samples: vec![sample, Sample::default()],
            },
            Told::Points {
                points: vec![point],
                limits: vec![login()],
                api_keys: vec![login(), login()],
            },
            Told::Top(TopKeys {
                keys: vec![TopKey {
                    key: "<b>\u{202e}".into(),
                    allowed: 1,
                    denied: u64::MAX,
                    error: 300,
                }],
                rest: 7,
            }),
            Told::Top(TopKeys::default()),
        ] {
            assert_eq!(decode_told(&encode_told(&told)).unwrap(), told);
        }
        // What a node answers that does not understand.
        assert!(decode_told(&[]).is_err());
    }
}
