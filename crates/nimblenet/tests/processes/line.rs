//! A registry with nodes in a line behind it.

use serde_json::Value as Json;

use super::{Bench, Daemon, free_ports, soon, succeed};

/// A registry, which is number 0, and nodes, each a neighbour of the one before it.
pub(crate) struct Line {
    pub(crate) bench: Bench,
    daemons: Vec<Daemon>,
    /// The configuration of each.
    configs: Vec<String>,
}

impl Line {
    /// A line of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self::granting(nodes, |_| "\"log\"")
    }

    /// A line of so many nodes, each of which grants these capabilities.
    pub(crate) fn granting(nodes: usize, capabilities: impl Fn(usize) -> &'static str) -> Self {
        let bench = Bench::new();
        let ports = free_ports(nodes + 1);
        let key = bench.public("shop.key");
        let configs = (0..=nodes).map(|at| {
            let beside = [at.checked_sub(1), Some(at + 1)];
            let beside = beside.into_iter().flatten().filter_map(|at| ports.get(at));
            let beside: Vec<_> = beside.map(|port| format!("\"127.0.0.1:{port}\"")).collect();
            let mut config = format!(
                "listen = \"127.0.0.1:{}\"\ncoap = \"127.0.0.1:0\"\nneighbours = [{}]\n",
                ports[at],
                beside.join(", "),
            );
            config.push_str(&match at {
                0 => format!(
                    "data = \"{}\"\n[namespaces.shop]\nkey = \"{key}\"\n",
                    bench.path("data")
                ),
                _ => format!(
                    "id = {at}\n[timeouts]\nhop_ms = 10\n\
                     [namespaces.shop]\nkey = \"{key}\"\ncapabilities = [{}]\n",
                    capabilities(at)
                ),
            });
            bench.write(&format!("{at}.toml"), config)
        });
        let configs: Vec<_> = configs.collect();
        let daemons = configs.iter().enumerate();
        let daemons = daemons.map(|(at, config)| start(at, config)).collect();
        Self {
            bench,
            daemons,
            configs,
        }
    }

    /// Where the registry, or a node, takes CoAP requests.
    pub(crate) fn coap(&self, at: usize) -> String {
        self.daemons[at].coap.to_string()
    }

    /// Publishes packages, which must succeed, and waits until the registry knows that all nodes
    /// have them.
    pub(crate) fn publish(&self, packages: &[&str]) {
        let key = self.bench.path("shop.key");
        self.bench.publish(&self.coap(0), packages, &key).unwrap();
        soon("every node has it", || {
            let listed = succeed(&["ls", "--registry", &self.coap(0), "--json"]);
            let listed: Json = serde_json::from_str(&listed).unwrap();
            let shop = &listed["namespaces"][0];
            let nodes = shop["nodes"].as_object().unwrap();
            let has_it = |epoch: &Json| *epoch == shop["epoch"];
            nodes.len() + 1 == self.daemons.len() && nodes.values().all(has_it)
        });
    }

    /// Kills a node; true if it was running until then.
    pub(crate) fn kill(&mut self, at: usize) -> bool {
        self.daemons[at].kill()
    }

    /// Starts a node again that was killed. It takes CoAP requests at another address.
    pub(crate) fn restart(&mut self, at: usize) {
        self.daemons[at] = start(at, &self.configs[at]);
    }
}

fn start(at: usize, config: &str) -> Daemon {
    let verb = if at == 0 { "registry" } else { "node" };
    Daemon::start(&[verb, "--config", config])
}
