//! The files by which Weir is deployed start nodes, as they stand: the image, Compose, the chart, Fly and systemd. In place of
//! an engine: what the image has in a folder, entered by `chroot` as its user, on a host of its own. Needs root.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{
    Compose, Container, DEADLINE, Image, Network, Node, Starting, address, chart, document,
    eventually, project,
};
use serde_json::Value;
use tempfile::TempDir;

/// Where containers of a test live, each on a host of this number.
struct Site {
    image: Image,
    home: TempDir,
    network: Network,
}

impl Site {
    fn new(hosts: usize, arguments: &[(&str, &str)]) -> Self {
        Self {
            image: Image::new(arguments),
            home: TempDir::with_prefix("weir-e2e-deployed-").expect("a temporary folder"),
            network: Network::new(hosts),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        fs::write(&path, text).expect("writing a file");
        path
    }

    fn volume(&self, name: &str, target: &str) -> PathBuf {
        let folder = self.home.path().join("volumes").join(name);
        self.image.make_volume(&folder, target);
        folder
    }

    /// A container that finds `hosts` by name, with nothing mounted but its own volumes.
    fn container(&self, host: usize, hosts: &str) -> Container<'_> {
        let hosts = format!("127.0.0.1 localhost\n{hosts}");
        let volumes = self.image.volumes.iter();
        let volumes = volumes.map(|target| {
            let name = format!("{host}{}", target.replace('/', "-"));
            (self.volume(&name, target), target.clone(), true)
        });
        Container {
            image: &self.image,
            namespace: self.network.namespace(host),
            hosts: self.file(&format!("hosts-{host}"), &hosts),
            variables: Vec::new(),
            mounts: volumes.collect(),
        }
    }

    fn launch(&self, container: &Container<'_>, name: &str, arguments: &[String]) -> Starting {
        Starting::of(self.home.path(), name, container.run(arguments))
    }

    /// The node of this host, once it is ready.
    #[track_caller]
    fn ready(&self, starting: Starting, host: usize) -> Node {
        let mut node = starting
            .ready()
            .unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
        assert_eq!(node.http.port(), 4000, "what the image exposes");
        node.http = format!("{}:4000", address(host))
            .parse()
            .expect("an address");
        node
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn stopped(mut nodes: Vec<Node>) {
    nodes.iter().for_each(Node::terminate);
    for node in &mut nodes {
        let status = node.ended();
        assert!(status.success(), "{}: {status}", node.name);
    }
}

/// The nodes of a compose file, started all at once.
#[track_caller]
fn up<'a>(site: &'a Site, compose: &Compose) -> (Vec<Container<'a>>, Vec<Node>) {
    let names = compose.services.iter().enumerate();
    let hosts: String = names
        .map(|(host, service)| format!("{} {}\n", address(host), service.name))
        .collect();
    let mut containers = Vec::new();
    for (host, service) in compose.services.iter().enumerate() {
        let mut container = site.container(host, &hosts);
        container.variables = service.variables.clone();
        for (from, to, writable) in &service.volumes {
            let from = match from.starts_with('.') {
                true => compose.folder.join(from),
                false => site.volume(from, to),
            };
            container.mounts.retain(|(_, target, _)| target != to);
            container.mounts.push((from, to.clone(), *writable));
        }
        containers.push(container);
    }
    let launched = containers.iter().zip(&compose.services);
    let launched: Vec<Starting> = launched
        .map(|(container, service)| site.launch(container, &service.name, &service.command))
        .collect();
    let nodes = launched
        .into_iter()
        .enumerate()
        .map(|(host, starting)| site.ready(starting, host));
    let nodes: Vec<Node> = nodes.collect();
    for ((container, service), node) in containers.iter().zip(&compose.services).zip(&nodes) {
        assert_eq!(service.health, site.image.health, "{}", node.name);
        eventually("it is healthy", || container.does(&service.health));
    }
    (containers, nodes)
}

#[test]
fn compose_yaml_is_a_service_of_three_nodes() {
    let site = Site::new(3, &[]);
    let compose = Compose::read(&project().join("compose.yaml"));
    let ports = compose
        .services
        .iter()
        .flat_map(|service| service.ports.clone());
    assert_eq!(
        ports.collect::<Vec<_>>(),
        [(4000, 4000), (4001, 4000), (4002, 4000)]
    );
    let (containers, nodes) = up(&site, &compose);

    // As the head of the file says: who is in the container has the cookie, which whichever was first has made.
    let made = containers[0]
        .does(&words("weir operator create you@example.com"))
        .expect("an operator");
    assert!(made.starts_with("http://localhost:4000/"), "{made}");
    containers[1]
        .does(&words("weir tenant create Acme"))
        .expect("a tenant");
    let status = words("weir status --json --cookie-file /home/weir/.weir.cookie");
    eventually("all three are members", || {
        let told: Value = serde_json::from_str(&containers[2].does(&status)?)
            .map_err(|error| error.to_string())?;
        match told["members"].as_array().map(Vec::len) {
            Some(3) => Ok(()),
            members => Err(format!("{members:?}")),
        }
    });
    assert_eq!(nodes[0].get("/user_home?name=ada", &[]).status, 200);
    assert_eq!(nodes[1].get("/user_home?name=ada", &[]).status, 429);
    stopped(nodes);

    // What was made is in the volumes.
    let (containers, nodes) = up(&site, &compose);
    let tenants = containers[2]
        .does(&words("weir tenant list"))
        .expect("tenants");
    assert!(tenants.contains("Acme"), "{tenants}");
    stopped(nodes);
}

#[test]
fn the_compose_file_of_raft_is_three_nodes_that_agree() {
    let site = Site::new(3, &[]);
    let (_, nodes) = up(
        &site,
        &Compose::read(&project().join("demo/compose.raft.yaml")),
    );
    // A leader is elected once they have met.
    eventually("one counts", || {
        let counted = nodes[0].ask("POST", "/rate/increment?client_id=c", &[], None);
        match counted.status {
            200 => Ok(()),
            _ => Err(format!("{counted:?}")),
        }
    });
    let left = nodes[2].get("/rate/check?client_id=c", &[]);
    let quota = left.json()["remaining_quota"].as_u64();
    assert!(quota.is_some_and(|quota| quota < 10), "{left:?}");
    stopped(nodes);
}

#[test]
fn the_chart_starts_pods() {
    // The nodes of `quorum-values.yaml` are five, which wait for each other.
    for values in [
        None,
        Some("fronts-values.yaml"),
        Some("service-values.yaml"),
        Some("trial-values.yaml"),
    ] {
        a_pod_of_the_chart_starts(values);
    }
}

#[track_caller]
fn a_pod_of_the_chart_starts(values: Option<&str>) {
    let site = Site::new(1, &[]);
    let objects = chart(site.home.path(), values);
    let of = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap_or_else(|| panic!("a {kind}"))
    };
    let set = of("StatefulSet");
    let spec = &set["spec"]["template"]["spec"];
    let pod = &spec["containers"][0];
    let (name, nodes) = (
        format!("{}-0", set["metadata"]["name"].as_str().expect("a name")),
        &set["spec"]["serviceName"],
    );
    let hosts = format!(
        "{0} {1}\n{0} edge-weir\n",
        address(0),
        nodes.as_str().expect("a name")
    );
    let mut container = site.container(0, &hosts);
    let config = of("ConfigMap")["data"]["weir.toml"]
        .as_str()
        .expect("a file");
    let config = site.file("config/weir.toml", config);
    let cookie = site.file("cookie/cookie", "wojtyra");
    let token = site.file("token/token", "secret");
    for mount in pod["volumeMounts"].as_array().expect("mounts") {
        let at = mount["mountPath"].as_str().expect("a path").to_owned();
        let from = match mount["name"].as_str() {
            Some("config") => &config,
            Some("cookie") => &cookie,
            Some("token") => &token,
            // Every container has them.
            _ => continue,
        };
        container
            .mounts
            .push((from.parent().expect("a folder").to_owned(), at, false));
    }
    for variable in pod["env"].as_array().expect("variables") {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => name.clone(),
            Some("status.podIP") => address(0),
            Some(other) => panic!("{other}"),
            None => variable["value"].as_str().expect("a value").to_owned(),
        };
        container
            .variables
            .push((variable["name"].as_str().expect("a name").to_owned(), value));
    }
    let arguments: Vec<String> = pod["args"]
        .as_array()
        .expect("arguments")
        .iter()
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect();
    let node = site.ready(site.launch(&container, &name, &arguments), 0);

    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asks = &pod[probe]["httpGet"];
        let ports = pod["ports"].as_array().expect("ports");
        let port = ports
            .iter()
            .find(|port| port["name"] == asks["port"])
            .expect("a port");
        let at = format!("{}:{}", address(0), port["containerPort"])
            .parse()
            .expect("an address");
        let path = asks["path"].as_str().expect("a path");
        let answer = rehearsal::Client::connect(at)
            .and_then(|mut asking| asking.request("GET", path, &[], None));
        assert_eq!(answer.expect("an answer").status, 200, "{values:?} {probe}");
    }
    // Who has no token is not served, where the values say nothing else.
    let expected = if values == Some("trial-values.yaml") {
        200
    } else {
        401
    };
    assert_eq!(node.get("/v1/limits", &[]).status, expected, "{values:?}");
    if values.is_none() {
        let test: Vec<String> = of("Pod")["spec"]["containers"][0]["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect();
        container
            .does(&[words("weir"), test].concat())
            .expect("helm test");
    }
    stopped(vec![node]);
}

#[test]
fn fly_toml_starts_a_node() {
    let told = document(&project().join("deploy/fly.toml"));
    let arguments = told["build"]["args"].as_object().expect("arguments");
    let arguments: Vec<(&str, &str)> = arguments
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
        .collect();
    let site = Site::new(1, &arguments);
    let app = told["app"].as_str().expect("a name");
    let mut container = site.container(0, &format!("::1 {app}.internal\n"));
    let variables = told["env"].as_object().expect("variables").iter();
    container.variables = variables
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    container.variables.extend([
        ("FLY_PRIVATE_IP".to_owned(), "::1".to_owned()),
        ("WEIR_NAME".to_owned(), "machine".to_owned()),
    ]);
    for file in told["files"].as_array().expect("files") {
        let from = match file["local_path"].as_str() {
            Some(path) => project().join(path),
            None => site.file(file["secret_name"].as_str().expect("a secret"), "wojtyra"),
        };
        container.mounts.push((
            from,
            file["guest_path"].as_str().expect("a path").to_owned(),
            false,
        ));
    }
    let command = words(told["processes"]["node"].as_str().expect("a command"));
    let node = site.ready(site.launch(&container, "machine", &command), 0);
    let check = told["http_service"]["checks"][0]["path"]
        .as_str()
        .expect("a path");
    assert_eq!(node.get(check, &[]).status, 200);
    let metrics = format!("{}:{}", address(0), told["metrics"]["port"])
        .parse()
        .expect("an address");
    let path = told["metrics"]["path"].as_str().expect("a path");
    let answer = rehearsal::Client::connect(metrics)
        .and_then(|mut asking| asking.request("GET", path, &[], None));
    assert_eq!(answer.expect("an answer").status, 200);
    stopped(vec![node]);
}

/// What stands behind `key=` in a unit, each time.
fn of_unit<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

#[test]
fn the_unit_starts_a_node_that_tells_systemd() {
    let site = Site::new(1, &[]);
    let unit = fs::read_to_string(project().join("deploy/weir.service")).expect("a unit");
    let in_unit = |text: &str| {
        text.replace("%d", "/run/credentials")
            .replace("%S", "/var/lib")
            .replace("%t", "/run")
    };
    let mut container = site.container(0, "");
    for variable in of_unit(&unit, "Environment") {
        let (name, value) = variable.split_once('=').expect("NAME=VALUE");
        container.variables.push((name.to_owned(), in_unit(value)));
    }
    // What the unit asks systemd for.
    let cookie = site.file("credentials/cookie", "wojtyra");
    let runtime = site.volume("runtime", "/data");
    container.mounts.extend([
        (
            cookie.parent().expect("a folder").to_owned(),
            "/run/credentials".to_owned(),
            false,
        ),
        (
            site.volume("state", "/data"),
            "/var/lib/weir".to_owned(),
            true,
        ),
        (runtime.clone(), "/run/weir".to_owned(), true),
        (
            project().join("deploy/debian/weir.toml"),
            "/etc/weir/weir.toml".to_owned(),
            false,
        ),
    ]);
    let heard = listener(&runtime.join("notify"));
    container.variables.extend([
        ("NOTIFY_SOCKET".to_owned(), "/run/weir/notify".to_owned()),
        ("WEIR_NAME".to_owned(), "oskar".to_owned()),
    ]);
    let [start] = of_unit(&unit, "ExecStart")[..] else {
        panic!("one command");
    };
    let start = words(&in_unit(start));
    assert_eq!(start[0], "/usr/bin/weir");
    let node = site.launch(&container, "oskar", &start[1..]).ready();
    let mut node = node.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
    let ready = hear(&heard);
    assert!(
        ready.starts_with("READY=1\nSTATUS=weir oskar ready http=127.0.0.1:4000 "),
        "{ready}"
    );
    node.terminate();
    assert_eq!(hear(&heard), "STOPPING=1\nSTATUS=draining");
    assert!(node.ended().success());
}

/// A socket that everybody may write to.
fn listener(path: &Path) -> UnixDatagram {
    use std::os::unix::fs::PermissionsExt as _;

    let socket = UnixDatagram::bind(path).expect("a new socket");
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
    let wait: Duration = DEADLINE;
    socket.set_read_timeout(Some(wait)).expect("a deadline");
    socket
}

fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("it is told in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
