//! The files by which Weir is deployed start nodes, as they stand: the image, Compose, the chart, Fly and systemd. In place of
//! an engine: what the image has in a folder, entered by `chroot` as its user, on a host of its own. Needs root.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use e2e::{
    Client, Compose, Container, DEADLINE, Node, Site, Starting, address, chart, document,
    eventually, project, text, texts,
};
use serde_json::Value;

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
    let values = [
        None,
        Some("fronts-values.yaml"),
        Some("service-values.yaml"),
        Some("trial-values.yaml"),
    ];
    let site = Site::new(values.len(), &[]);
    let pods = values
        .iter()
        .enumerate()
        .map(|(host, values)| Pod::new(&site, host, *values));
    let pods: Vec<Pod> = pods.collect();
    let launched: Vec<Starting> = pods
        .iter()
        .map(|pod| site.launch(&pod.container, &pod.name, &pod.arguments))
        .collect();
    let ready = launched.into_iter().enumerate();
    let nodes: Vec<Node> = ready
        .map(|(host, starting)| site.ready(starting, host))
        .collect();
    for ((pod, node), values) in pods.iter().zip(&nodes).zip(values) {
        for (port, path) in &pod.probes {
            let at = SocketAddr::new(node.http.ip(), *port);
            assert_eq!(get(at, path), 200, "{values:?} {path}");
        }
        // Who has no token is not served, where the values say nothing else.
        let expected = if values == Some("trial-values.yaml") {
            200
        } else {
            401
        };
        assert_eq!(node.get("/v1/limits", &[]).status, expected, "{values:?}");
    }
    // The others' Service has other ports than its pods.
    pods[0]
        .container
        .does(&[words("weir"), pods[0].test.clone()].concat())
        .expect("helm test");
    stopped(nodes);
}

/// What a kubelet makes of the first pod of the chart.
struct Pod<'a> {
    name: String,
    container: Container<'a>,
    arguments: Vec<String>,
    /// Where it is asked whether it lives and is ready.
    probes: Vec<(u16, String)>,
    /// What the pod of `helm test` is told.
    test: Vec<String>,
}

impl<'a> Pod<'a> {
    #[track_caller]
    fn new(site: &'a Site, host: usize, values: Option<&str>) -> Self {
        let objects = chart(site.home(), values);
        let of = |kind: &str| {
            let found = objects.iter().find(|object| object["kind"] == kind);
            found.unwrap_or_else(|| panic!("a {kind} of {values:?}"))
        };
        let set = of("StatefulSet");
        let pod = &set["spec"]["template"]["spec"]["containers"][0];
        let name = format!("{}-0", text(&set["metadata"]["name"]));
        let hosts = format!(
            "{0} {1}\n{0} edge-weir\n",
            address(host),
            text(&set["spec"]["serviceName"])
        );
        let mut container = site.container(host, &hosts);
        let config = text(&of("ConfigMap")["data"]["weir.toml"]);
        for mount in list(&pod["volumeMounts"]) {
            let volume = text(&mount["name"]);
            let (file, content) = match &*volume {
                "config" => ("weir.toml", &*config),
                "cookie" => ("cookie", "wojtyra"),
                "token" => ("token", "secret"),
                // Every container has them.
                _ => continue,
            };
            let file = site.file(&format!("{host}/{volume}/{file}"), content);
            let folder = file.parent().expect("a folder").to_owned();
            container
                .mounts
                .push((folder, text(&mount["mountPath"]), false));
        }
        for variable in list(&pod["env"]) {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => name.clone(),
                Some("status.podIP") => address(host),
                Some(other) => panic!("{other}"),
                None => text(&variable["value"]),
            };
            container.variables.push((text(&variable["name"]), value));
        }
        let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| {
            let asks = &pod[probe]["httpGet"];
            let port = list(&pod["ports"])
                .iter()
                .find(|port| port["name"] == asks["port"]);
            let port = port
                .and_then(|port| port["containerPort"].as_u64())
                .expect("a port");
            (u16::try_from(port).expect("a port"), text(&asks["path"]))
        });
        Self {
            name,
            container,
            arguments: texts(&pod["args"]),
            probes: probes.to_vec(),
            test: texts(&of("Pod")["spec"]["containers"][0]["args"]),
        }
    }
}

/// The status of one `GET`.
#[track_caller]
fn get(at: SocketAddr, path: &str) -> u16 {
    let answer = Client::connect(at).and_then(|mut asking| asking.request("GET", path, &[], None));
    answer
        .unwrap_or_else(|error| panic!("{path} of {at}: {error}"))
        .status
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

#[test]
fn fly_toml_starts_a_node() {
    let told = document(&project().join("deploy/fly.toml"));
    let pairs = |value: &Value| -> Vec<(String, String)> {
        let pairs = value.as_object().expect("a table").iter();
        pairs
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    };
    let arguments = pairs(&told["build"]["args"]);
    let arguments: Vec<(&str, &str)> = arguments
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let site = Site::new(1, &arguments);
    let mut container = site.container(0, &format!("::1 {}.internal\n", text(&told["app"])));
    container.variables = pairs(&told["env"]);
    // The second is the name of its host.
    for (name, value) in [("FLY_PRIVATE_IP", "::1"), ("WEIR_NAME", "machine")] {
        container
            .variables
            .push((name.to_owned(), value.to_owned()));
    }
    for file in list(&told["files"]) {
        let from = match file["local_path"].as_str() {
            Some(path) => project().join(path),
            None => site.file(&text(&file["secret_name"]), "wojtyra"),
        };
        container
            .mounts
            .push((from, text(&file["guest_path"]), false));
    }
    let command = words(&text(&told["processes"]["node"]));
    let node = site.ready(site.launch(&container, "machine", &command), 0);
    assert_eq!(
        get(node.http, &text(&told["http_service"]["checks"][0]["path"])),
        200
    );
    let port = told["metrics"]["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let metrics = SocketAddr::new(node.http.ip(), port.expect("a port"));
    assert_eq!(get(metrics, &text(&told["metrics"]["path"])), 200);
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
