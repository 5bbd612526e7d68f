//! `[node]`, its flags and its variables: what differs from node to node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ::node::config::{Given, NAME_ACCEPTED, Problems, Table, span, valid_name};

use super::{Surroundings, address};
use crate::cli::NodeArgs;
use crate::secret::Secret;

/// What one node was told about itself.
#[derive(Clone, Debug)]
pub(crate) struct NodeConfig {
    /// Unique in the cluster. Default: the host name.
    pub(crate) name: String,
    /// Where the cluster's shared secret comes from.
    pub(crate) cookie: SecretSource,
    /// Where HTTP is served. Beyond loopback only with a token, unless the operator insists. Port 0: any.
    pub(crate) http: SocketAddr,
    /// Where the Redis protocol is served, on the same terms. `None`: it is not.
    pub(crate) redis: Option<SocketAddr>,
    /// Where Envoy's rate limit service is served, on the same terms. `None`: it is not.
    pub(crate) grpc: Option<SocketAddr>,
    /// Where `/metrics`, `/health` and `/ready` are served alone, to whoever connects. `None`: nowhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where other nodes are served. Port 0: any.
    pub(crate) cluster: SocketAddr,
    /// What other nodes dial. Port 0: the port that `cluster` was bound to. Never an unspecified address.
    pub(crate) advertise: SocketAddr,
    /// Live nodes to ask for the others; any one is enough.
    pub(crate) join: Vec<Seed>,
    /// How many nodes found a cluster together where none is found. `None`: the first founds it alone; with
    /// `partition = "quorum"` only one that has nobody to join.
    pub(crate) expect: Option<usize>,
    /// Replicas prefer another zone.
    pub(crate) zone: Option<String>,
    /// How long requests are served as before once the node was told to stop and `/ready` says so.
    ///
    /// A balancer goes on sending until it has looked again, and what comes after the front has closed is refused: for
    /// containers some 5 s, longer than the balancer's interval times the failures that it wants to see. Default 0: who
    /// stops a node by hand does not wait for anybody.
    pub(crate) drain_wait: Duration,
    /// Where what people change at run time outlives the process. Each node needs one of its own. `None`: it lives in memory,
    /// and is gone when all nodes are.
    pub(crate) data_dir: Option<PathBuf>,
    /// What clients must prove, if anything.
    pub(crate) api_token: Option<SecretSource>,
    /// How to log. `None`: as fits where stderr goes.
    pub(crate) log: Option<LogFormat>,
    /// What it was told, by the keys of the file and in its spelling. Only a restart changes any of it.
    pub(crate) told: BTreeMap<&'static str, String>,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SecretSource {
    /// A flag or variable. Not blank.
    Given(Secret),
    /// A file that the operator named.
    File(PathBuf),
    /// A file of our own, made when it does not exist.
    Default(PathBuf),
}

/// Where another node might be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seed {
    Address(SocketAddr),
    /// A name to resolve, anew at every attempt: all its addresses are nodes.
    Dns {
        name: String,
        port: u16,
    },
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
        }
    }
}

/// How to log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

const HTTP_PORT_DEFAULT: u16 = 4000;

/// Flags, variables and `[node]`, in falling order of who wins.
struct Layers<'a> {
    args: &'a NodeArgs,
    around: &'a Surroundings<'a>,
    file: Option<Table<'a>>,
    told: BTreeMap<&'static str, String>,
}

impl Layers<'_> {
    /// What a flag says.
    fn flag(&self, key: &str) -> Option<Given<String>> {
        let value = self.args.value_of(key)?.to_owned();
        Some(Given {
            value,
            place: format!("--{}", key.replace('_', "-")),
        })
    }

    /// What a variable says.
    fn variable(&self, key: &str) -> Option<Given<String>> {
        let name = format!("WEIR_{}", key.to_uppercase());
        Some(Given {
            value: (self.around.variable)(&name)?,
            place: name,
        })
    }

    /// What wins. The file is read in any case, so that a mistake in it shows.
    fn pick(&mut self, key: &'static str, problems: &mut Problems) -> Option<Given<String>> {
        let in_file = self
            .file
            .as_mut()
            .and_then(|file| file.string(key, problems));
        let picked = self.flag(key).or_else(|| self.variable(key)).or(in_file);
        if let Some(given) = &picked {
            self.told.insert(key, given.value.clone());
        }
        picked
    }

    /// A secret given as it is or by its file; `file_key` is the file's key, and `key` no key of the file.
    fn pick_secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        problems: &mut Problems,
    ) -> Option<SecretSource> {
        let picked = self.secret(key, file_key, problems);
        if let Some(SecretSource::File(path)) = &picked {
            self.told.insert(file_key, path.display().to_string());
        }
        picked
    }

    fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        problems: &mut Problems,
    ) -> Option<SecretSource> {
        let in_file = self
            .file
            .as_mut()
            .and_then(|file| file.string(file_key, problems));
        let pairs = [
            (self.flag(key), self.flag(file_key)),
            (self.variable(key), self.variable(file_key)),
        ];
        for (value, file) in pairs {
            match (value, file) {
                (Some(value), Some(file)) => {
                    problems.add(
                        &value.place,
                        format!("given together with {}", file.place),
                        "one of them",
                    );
                    return None;
                }
                // The value is not shown: it may be most of a secret.
                (Some(value), None) => {
                    let secret = Secret::new(&value.value);
                    if secret.is_none() {
                        problems.add(&value.place, "found nothing", "a secret that is not blank");
                    }
                    return secret.map(SecretSource::Given);
                }
                (None, Some(file)) => return Some(SecretSource::File(file.value.into())),
                (None, None) => {}
            }
        }
        in_file.map(|file| SecretSource::File(file.value.into()))
    }

    fn pick_address(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Result<Option<Given<SocketAddr>>, Refused> {
        let Some(given) = self.pick(key, problems) else {
            return Ok(None);
        };
        read_address(given, problems).map(Some)
    }

    /// As [`Self::pick_address`], or `env:NAME:PORT`: the address that a variable has, as platforms tell it.
    fn pick_advertised(
        &mut self,
        problems: &mut Problems,
    ) -> Result<Option<Given<SocketAddr>>, Refused> {
        let Some(given) = self.pick("advertise", problems) else {
            return Ok(None);
        };
        let Some(named) = given.value.strip_prefix("env:") else {
            return read_address(given, problems).map(Some);
        };
        let read = |_: &str| {
            let (name, port) = named.rsplit_once(':')?;
            Some((name, port.parse().ok()?))
        };
        let accepted = "env:NAME:PORT, such as env:POD_IP:4100";
        let (name, port): (&str, u16) = problems.parse(&given, accepted, read).ok_or(Refused)?;
        let found = Given {
            value: (self.around.variable)(name).unwrap_or_default(),
            place: format!("{name}, which {} names", given.place),
        };
        let ip = problems.parse(&found, "an IP address", |text| {
            let bare = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'));
            bare.unwrap_or(text).parse::<IpAddr>().ok()
        });
        Ok(Some(Given {
            value: SocketAddr::new(ip.ok_or(Refused)?, port),
            place: found.place,
        }))
    }
}

fn read_address(
    given: Given<String>,
    problems: &mut Problems,
) -> Result<Given<SocketAddr>, Refused> {
    let value = problems
        .parse(&given, address::ACCEPTED, address::parse)
        .ok_or(Refused)?;
    Ok(Given {
        value,
        place: given.place,
    })
}

/// A value was refused, and the problem is noted.
struct Refused;

/// Reads everything about this node. `service`: the place of what makes it a service for many, if it is one. `None` only if
/// there were problems.
pub(super) fn read(
    args: &NodeArgs,
    around: &Surroundings<'_>,
    file: Option<Table<'_>>,
    service: Option<String>,
    problems: &mut Problems,
) -> Option<NodeConfig> {
    let mut layers = Layers {
        args,
        around,
        file,
        told: BTreeMap::new(),
    };
    let name = read_name(&mut layers, problems);
    let cookie = read_cookie(&mut layers, problems);
    let api_token = layers.pick_secret("api_token", "api_token_file", problems);
    // Where the node is a service for many, nothing is told without a credential.
    let is_open = read_insecure(&layers, problems) || api_token.is_some() || service.is_some();
    let http = read_http(&mut layers, is_open, problems);
    let redis = read_front("redis", &mut layers, is_open, problems);
    let grpc = read_front("grpc", &mut layers, is_open, problems);
    let metrics = layers.pick_address("metrics", problems);
    let addresses = read_addresses(&mut layers, problems);
    let join = read_join(&mut layers, problems);
    let expect = read_expect(&mut layers, problems);
    let zone = layers
        .pick("zone", problems)
        .map(|given| problems.parse(&given, NAME_ACCEPTED, valid_name));
    let drain_wait = layers
        .pick("drain_wait", problems)
        .map(|given| problems.parse(&given, span::ACCEPTED, span::parse));
    let log = layers.pick("log", problems).map(|given| {
        problems.choose(
            &given,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        )
    });
    let data_dir = read_data_dir(&mut layers, problems);
    if let Some(place) = service.filter(|_| data_dir.is_none() && !args.ephemeral) {
        problems.add(
            &place,
            "tenants and API keys would be gone when all nodes are: there is no data directory",
            "--data-dir, or --ephemeral to try it out",
        );
    }
    if let Some(file) = layers.file {
        file.finish(problems);
    }

    let (cluster, advertise) = addresses?;
    let zone = zone.map_or(Some(None), |zone| zone.map(Some))?;
    let log = log.map_or(Some(None), |log| log.map(Some))?;
    let drain_wait = drain_wait.unwrap_or(Some(Duration::ZERO))?;
    Some(NodeConfig {
        name: name?,
        cookie: cookie?,
        http: http?,
        redis: redis?,
        grpc: grpc?,
        metrics: metrics.ok()?.map(|metrics| metrics.value),
        cluster,
        advertise,
        join,
        expect: expect?,
        zone,
        drain_wait,
        data_dir,
        api_token,
        log,
        told: layers.told,
    })
}

fn read_name(layers: &mut Layers<'_>, problems: &mut Problems) -> Option<String> {
    let name = layers.pick("name", problems).unwrap_or_else(|| Given {
        value: layers.around.host_name.clone(),
        place: "--name, by default the host name".to_owned(),
    });
    problems.parse(&name, NAME_ACCEPTED, valid_name)
}

fn read_cookie(layers: &mut Layers<'_>, problems: &mut Problems) -> Option<SecretSource> {
    let before = problems.count();
    let cookie = layers.pick_secret("cookie", "cookie_file", problems);
    if cookie.is_some() || problems.count() != before {
        return cookie;
    }
    let Some(home) = &layers.around.home else {
        problems.add(
            "--cookie-file",
            "this user has no home folder to keep a cookie in",
            "a file or --cookie",
        );
        return None;
    };
    Some(SecretSource::Default(home.join(".weir.cookie")))
}

fn read_http(
    layers: &mut Layers<'_>,
    is_open: bool,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let http = layers.pick_address("http", problems).ok()?;
    let Some(http) = http else {
        let port = match (layers.around.variable)("PORT") {
            Some(value) => {
                let given = Given {
                    value,
                    place: "PORT".to_owned(),
                };
                problems.parse(&given, "a port, 0 to 65535", |text| text.parse().ok())?
            }
            None => HTTP_PORT_DEFAULT,
        };
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    };
    refuse_strangers(&http, is_open, problems);
    Some(http.value)
}

/// `None` only if there was a problem.
fn read_front(
    key: &'static str,
    layers: &mut Layers<'_>,
    is_open: bool,
    problems: &mut Problems,
) -> Option<Option<SocketAddr>> {
    let front = layers.pick_address(key, problems).ok()?;
    if let Some(front) = &front {
        refuse_strangers(front, is_open, problems);
    }
    Some(front.map(|front| front.value))
}

/// Other machines may only ask with a token, or when the operator insists.
fn refuse_strangers(address: &Given<SocketAddr>, is_open: bool, problems: &mut Problems) {
    if !address.value.ip().is_loopback() && !is_open {
        let what = format!(
            "{} is open to other machines, without a token",
            address.value
        );
        problems.add(
            &address.place,
            what,
            "a loopback address; or --api-token-file, --api-token or --insecure with it",
        );
    }
}

fn read_insecure(layers: &Layers<'_>, problems: &mut Problems) -> bool {
    if layers.args.insecure {
        return true;
    }
    let Some(given) = layers.variable("insecure") else {
        return false;
    };
    problems
        .choose(
            &given,
            &[("1", true), ("true", true), ("0", false), ("false", false)],
        )
        .unwrap_or(false)
}

/// The addresses to bind for other nodes and to tell them.
fn read_addresses(
    layers: &mut Layers<'_>,
    problems: &mut Problems,
) -> Option<(SocketAddr, SocketAddr)> {
    let cluster = layers.pick_address("cluster", problems);
    let advertise = layers.pick_advertised(problems);
    let cluster = cluster.ok()?.unwrap_or_else(|| Given {
        value: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        place: "--cluster".to_owned(),
    });
    let advertise = advertise.ok()?;
    let dialled = advertise.as_ref().unwrap_or(&cluster);
    if dialled.value.ip().is_unspecified() {
        let what = format!("other nodes cannot dial {}", dialled.value);
        problems.add(
            &dialled.place,
            what,
            "--advertise with an address of this machine",
        );
        return None;
    }
    Some((cluster.value, dialled.value))
}

fn read_join(layers: &mut Layers<'_>, problems: &mut Problems) -> Vec<Seed> {
    let in_file = layers
        .file
        .as_mut()
        .map(|file| file.strings("join", problems))
        .unwrap_or_default();
    let flags: Vec<Given<String>> = layers
        .args
        .join
        .iter()
        .map(|seed| given(seed, "--join"))
        .collect();
    let variable = layers.variable("join");
    let seeds = if !flags.is_empty() {
        flags
    } else if let Some(list) = &variable {
        list.value
            .split(',')
            .map(|seed| given(seed.trim(), &list.place))
            .collect()
    } else {
        in_file
    };
    if !seeds.is_empty() {
        let all: Vec<&str> = seeds.iter().map(|seed| &*seed.value).collect();
        layers.told.insert("join", all.join(", "));
    }
    let accepted = "ADDR:PORT with an IP address, or dns:NAME:PORT";
    seeds
        .iter()
        .filter_map(|seed| problems.parse(seed, accepted, parse_seed))
        .collect()
}

/// More than a full mesh of heartbeats carries.
const EXPECTED_MAX: u64 = 64;

/// `None` only if there was a problem.
fn read_expect(layers: &mut Layers<'_>, problems: &mut Problems) -> Option<Option<usize>> {
    let before = problems.count();
    let in_file = layers
        .file
        .as_mut()
        .and_then(|file| file.integer("expect", 1, EXPECTED_MAX, problems));
    let given = layers.flag("expect").or_else(|| layers.variable("expect"));
    let number = match given {
        Some(given) => {
            let accepted = format!("a number of nodes, 1 to {EXPECTED_MAX}");
            problems.parse(&given, &accepted, |text| {
                let number = text.parse().ok()?;
                (1..=EXPECTED_MAX).contains(&number).then_some(number)
            })
        }
        None => in_file.map(|given| given.value),
    };
    if let Some(number) = number {
        layers.told.insert("expect", number.to_string());
    }
    let number = number.and_then(|number| usize::try_from(number).ok());
    (problems.count() == before).then_some(number)
}

fn parse_seed(text: &str) -> Option<Seed> {
    let Some(name_and_port) = text.strip_prefix("dns:") else {
        let dialable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
        return text.parse().ok().filter(dialable).map(Seed::Address);
    };
    let (name, port) = name_and_port.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|&port| port != 0)?;
    address::is_host(name).then(|| Seed::Dns {
        name: name.to_owned(),
        port,
    })
}

fn read_data_dir(layers: &mut Layers<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let given = layers.pick("data_dir", problems)?;
    problems.parse(&given, "a directory", |path| {
        (!path.is_empty()).then(|| PathBuf::from(path))
    })
}

fn given(value: &str, place: &str) -> Given<String> {
    Given {
        value: value.to_owned(),
        place: place.to_owned(),
    }
}
