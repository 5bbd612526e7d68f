//! Containers side by side.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::container::{Container, Image};
use crate::network::{Network, address};
use crate::node::{Node, Starting};

/// Where containers of a test live, each on a host of this number.
#[derive(Debug)]
pub struct Site {
    /// What its containers are made of.
    pub image: Image,
    home: TempDir,
    network: Network,
}

impl Site {
    /// So many hosts, and the image as these arguments have it built.
    ///
    /// # Panics
    ///
    /// Without root.
    #[must_use]
    pub fn new(hosts: usize, arguments: &[(&str, &str)]) -> Self {
        Self {
            image: Image::new(arguments),
            home: TempDir::with_prefix("weir-e2e-deployed-").expect("a temporary folder"),
            network: Network::new(hosts),
        }
    }

    /// Where all of it is.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file of the test's own.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        fs::write(&path, text).expect("writing a file");
        path
    }

    /// A volume of this name, made where there is none, that is to be mounted there.
    #[must_use]
    pub fn volume(&self, name: &str, target: &str) -> PathBuf {
        let folder = self.home.path().join("volumes").join(name);
        self.image.make_volume(&folder, target);
        folder
    }

    /// A container that finds `hosts` by name, with nothing mounted but its own volumes.
    #[must_use]
    pub fn container(&self, host: usize, hosts: &str) -> Container<'_> {
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

    /// Starts a node of this name in it.
    #[must_use]
    pub fn launch(&self, container: &Container<'_>, name: &str, arguments: &[String]) -> Starting {
        Starting::of(self.home.path(), name, container.run(arguments))
    }

    /// The node of this host, once it is ready.
    ///
    /// # Panics
    ///
    /// If it does not get there.
    #[track_caller]
    pub fn ready(&self, starting: Starting, host: usize) -> Node {
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
