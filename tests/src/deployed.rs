//! What files of deployments say: of Docker Compose, Helm and Fly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::proxy::{demo, python_program};

/// The root of the project.
///
/// # Panics
///
/// Never: `demo/` is below it.
#[must_use]
pub fn project() -> PathBuf {
    demo().parent().expect("demo/ is below the root").to_owned()
}

/// Reads YAML or TOML, by the end of its name, as JSON. Of several documents of YAML an array.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn document(path: &Path) -> Value {
    const READ: &str = "
import json, sys, tomllib, yaml
with open(sys.argv[1], 'rb') as file:
    if sys.argv[1].endswith('.toml'):
        read = tomllib.load(file)
    else:
        read = [document for document in yaml.safe_load_all(file) if document]
        read = read if len(read) > 1 else read[0]
json.dump(read, sys.stdout)
";
    let output = Command::new(python_program("python3"))
        .args(["-c", READ])
        .arg(path)
        .output()
        .expect("starting Python");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!(
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// The objects that the chart renders for the release `edge`, by a file of its folder `ci` or by its own values.
///
/// # Panics
///
/// Without `WEIR_HELM`, or when Helm refuses it.
#[must_use]
pub fn chart(home: &Path, values: Option<&str>) -> Vec<Value> {
    let helm = std::env::var_os("WEIR_HELM")
        .expect("WEIR_HELM names Helm; `cargo xtask test end-to-end` installs it and sets this");
    let chart = project().join("deploy/helm/weir");
    let mut command = Command::new(helm);
    command
        .args(["template", "edge"])
        .arg(&chart)
        .env("HOME", home);
    if let Some(values) = values {
        command.arg("--values").arg(chart.join("ci").join(values));
    }
    let output = command.output().expect("starting Helm");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let rendered = home.join("rendered.yaml");
    fs::write(&rendered, output.stdout).expect("writing what was rendered");
    let Value::Array(objects) = document(&rendered) else {
        panic!("a chart has several objects");
    };
    objects
}

/// A compose file.
#[derive(Debug)]
pub struct Compose {
    /// Its folder.
    pub folder: PathBuf,
    /// Those that run Weir, by name.
    pub services: Vec<Service>,
}

/// One of them.
#[derive(Debug)]
pub struct Service {
    /// Its name, which the others know it by.
    pub name: String,
    /// Arguments of the image's entrypoint.
    pub command: Vec<String>,
    /// Its variables.
    pub variables: Vec<(String, String)>,
    /// What is mounted, where, and whether it can be written to: a path that begins with a dot, or the name of a volume.
    pub volumes: Vec<(String, String, bool)>,
    /// `HOST:CONTAINER`, where it is published on loopback.
    pub ports: Vec<(u16, u16)>,
    /// The command that says whether it is healthy.
    pub health: Vec<String>,
}

impl Compose {
    /// Reads it.
    ///
    /// # Panics
    ///
    /// When it says what is not understood here.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let read = document(path);
        let services = read["services"].as_object().expect("services");
        let of_weir = services
            .iter()
            .filter(|(_, service)| service["image"] == "weir");
        Self {
            folder: path.parent().expect("a folder").to_owned(),
            services: of_weir
                .map(|(name, service)| Service::read(name, service))
                .collect(),
        }
    }
}

impl Service {
    fn read(name: &str, service: &Value) -> Self {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["tmpfs"], serde_json::json!(["/tmp"]), "{name}");
        let variables = service["environment"].as_object().expect("variables");
        let health = texts(&service["healthcheck"]["test"]);
        assert_eq!(health[0], "CMD", "{name}");
        Self {
            name: name.to_owned(),
            command: texts(&service["command"]),
            variables: variables
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            volumes: texts(&service["volumes"])
                .iter()
                .map(|volume| mount(volume))
                .collect(),
            ports: texts(&service["ports"])
                .iter()
                .map(|port| published(port))
                .collect(),
            health: health[1..].to_vec(),
        }
    }
}

fn mount(volume: &str) -> (String, String, bool) {
    let parts: Vec<&str> = volume.split(':').collect();
    match parts[..] {
        [from, to] => (from.to_owned(), to.to_owned(), true),
        [from, to, "ro"] => (from.to_owned(), to.to_owned(), false),
        _ => panic!("{volume} is not understood here"),
    }
}

fn published(port: &str) -> (u16, u16) {
    let ports = port
        .strip_prefix("127.0.0.1:")
        .and_then(|ports| ports.split_once(':'));
    let (host, container) = ports.unwrap_or_else(|| panic!("{port} is not on loopback"));
    (
        host.parse().expect("a port"),
        container.parse().expect("a port"),
    )
}

/// What stands there.
///
/// # Panics
///
/// When it is no text.
#[must_use]
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// A list of them.
///
/// # Panics
///
/// When it is none.
#[must_use]
#[track_caller]
pub fn texts(value: &Value) -> Vec<String> {
    let values = value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"));
    values.iter().map(text).collect()
}
