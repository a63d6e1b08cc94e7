use super::*;
use crate::config::{DEFAULT_REGISTRY, MeshConfig, NamespaceConfig};
use crate::key::SigningKey;
use crate::remote::{CallOptions, Form, PublishReport, Remote, RemoteError};
use nimblenet_core::Priority;
use nimblenet_core::Source;
use nimblenet_tasklet::{
    Capabilities, Export, NamedImport, Package, PackageFields, Signature, Terms,
};
use std::path::Path;
use tempfile::TempDir;

mod coap;
mod links;
mod serial;

const PATIENCE: Duration = Duration::from_secs(20);

fn key() -> SigningKey {
    SigningKey::from_secret(&[7; 32])
}

/// A registry and nodes in a line behind it, on sockets that the system chose.
struct Mesh {
    runtime: tokio::runtime::Runtime,
    data: TempDir,
    registry: Option<Daemon>,
    nodes: Vec<Daemon>,
    addresses: Vec<Addresses>,
}

impl Mesh {
    fn new(nodes: usize) -> Self {
        Self::with(nodes, |_, _| {})
    }

    /// A mesh in which `change` changes the configuration of each member; the registry is number 0.
    fn with(nodes: usize, change: impl Fn(usize, &mut MeshConfig)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sockets: Vec<_> = (0..=nodes)
            .map(|_| Sockets::bind(any, Some(any)).unwrap())
            .collect();
        let addresses: Vec<_> = sockets.iter().map(|it| it.addresses().unwrap()).collect();
        let mesh = |at: usize, id| {
            let mut mesh = MeshConfig::new(id, any);
            let around = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
            let around = around.filter_map(|at| addresses.get(at));
            mesh.neighbours = around.map(|it| it.mesh).collect();
            change(at, &mut mesh);
            mesh
        };
        let mut started = Vec::new();
        for at in (1..=nodes).rev() {
            let mut config = NodeConfig::new(mesh(at, NodeId(at as u16)));
            config.timeouts.pace.hop = Duration::from_millis(20);
            config.state = Some(data.path().join(format!("state-{at}")));
            let namespace = NamespaceConfig {
                key: key().public(),
                registry: DEFAULT_REGISTRY,
                capabilities: Capabilities::NONE,
                stays: false,
            };
            let shop = Name::new("shop").unwrap();
            config.namespaces.insert(shop, namespace);
            config.natives = vec![TaskletName::new("shop/vibration").unwrap()];
            config.executors = 2;
            started.push(Daemon::node(config, sockets.pop()).unwrap());
        }
        started.reverse();
        let config = RegistryConfig::new(mesh(0, DEFAULT_REGISTRY), any, data.path().join("data"));
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            registry: Some(Daemon::registry(config, sockets.pop()).unwrap()),
            data,
            nodes: started,
            addresses,
        }
    }

    fn publish(&self, packages: &[Vec<u8>]) -> Result<Vec<PublishReport>, RemoteError> {
        let packages: Vec<_> = packages
            .iter()
            .map(|bytes| Package::decode(bytes).unwrap())
            .collect();
        let registry = self.addresses[0].coap.unwrap();
        self.runtime.block_on(async {
            let mut remote = Remote::connect(registry, PATIENCE).await.unwrap();
            let published = remote
                .publish(&packages, Form::Shortest, &key(), &mut [])
                .await;
            published.map_err(|stopped| stopped.error)
        })
    }

    /// Calls over CoAP.
    fn call(&self, node: usize, name: &str, args: &[u32]) -> Result<u32, String> {
        self.call_at(node, None, name, args)
    }

    /// Calls over CoAP; another node of the mesh runs the call.
    fn call_at(
        &self,
        node: usize,
        at: Option<NodeId>,
        name: &str,
        args: &[u32],
    ) -> Result<u32, String> {
        let address = self.addresses[node].coap.unwrap();
        let name = TaskletName::new(name).unwrap();
        let args = minicbor::to_vec(args).unwrap();
        let result = self.runtime.block_on(async {
            let mut remote = Remote::connect(address, PATIENCE).await.unwrap();
            let options = CallOptions {
                at,
                ..CallOptions::default()
            };
            remote.call(&name, &args, options).await
        });
        let bytes = result.map_err(|error| error.code().to_owned())?;
        let [value] = minicbor::decode::<[u32; 1]>(&bytes).unwrap();
        Ok(value)
    }

    /// Calls within the process.
    fn report(&self, node: usize, name: &str, args: &[u32]) -> CallReport {
        self.nodes[node - 1].call(Call {
            name: TaskletName::new(name).unwrap(),
            export: String::new(),
            args: minicbor::to_vec(args).unwrap(),
            deadline: None,
            priority: Priority::Normal,
            client: None,
            key: None,
            from: None,
            at: None,
        })
    }
}

fn package(name: &str, signature: &str, wat: &str, callees: &[(&str, &str)]) -> Vec<u8> {
    let module = wat::parse_str(wat).unwrap();
    let signature: Signature = signature.parse().unwrap();
    let mut space = [0; 128];
    let mut terms = Terms::empty();
    (terms.fuel, terms.memory_bytes) = (50_000_000, 65_536);
    let terms = terms
        .with_exports(&[Export::run(signature)], &mut space)
        .unwrap();
    let imports: Vec<_> = callees
        .iter()
        .map(|(callee, signature)| NamedImport {
            name: TaskletName::new(callee).unwrap(),
            export: "run",
            signature: signature.parse().unwrap(),
        })
        .collect();
    let fields = PackageFields {
        name: TaskletName::new(name).unwrap(),
        terms,
        imports: &imports,
        module: &module,
    };
    let mut bytes = vec![0; 1024 + module.len()];
    let len = fields.encode(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

const BINARY: &str = "func(u32, u32) -> u32";

fn add(extra: u32) -> Vec<u8> {
    let wat = format!(
        "(module (func (export \"run\") (param i32 i32) (result i32)
           (i32.add (i32.const {extra}) (i32.add (local.get 0) (local.get 1)))))"
    );
    package("shop/add", BINARY, &wat, &[])
}

/// Computes a + b, twice, with two calls of `shop/add`.
fn chain() -> Vec<u8> {
    let wat = "(module
        (import \"shop/add\" \"run\" (func $add (param i32 i32) (result i32)))
        (func (export \"run\") (param i32 i32) (result i32)
          (call $add (call $add (local.get 0) (local.get 1))
                     (call $add (local.get 0) (local.get 1)))))";
    package("shop/chain", BINARY, wat, &[("shop/add", BINARY)])
}

fn endless() -> Vec<u8> {
    let wat = "(module (func (export \"run\") (result i32) (loop $l (br $l)) (unreachable)))";
    package("shop/endless", "func() -> u32", wat, &[])
}

fn trapping() -> Vec<u8> {
    let wat = "(module (func (export \"run\") (result i32) (unreachable)))";
    package("shop/trapping", "func() -> u32", wat, &[])
}

#[test]
fn a_chain_is_fetched_from_the_registry_once_and_from_neighbours_after_that() {
    let mesh = Mesh::new(3);
    let moved = mesh.publish(&[chain(), add(0)]).unwrap();
    assert_eq!((moved[0].epoch, moved[0].modules), (1, 2));
    // The node next to the registry, then the one behind it.
    assert_eq!(mesh.call(1, "shop/chain", &[2, 3]), Ok(10));
    let report = mesh.report(2, "shop/chain", &[1, 1]);
    assert_eq!(report.result, Ok(vec![0x81, 0x04]));
    let sources: Vec<_> = report.steps.iter().map(|step| step.source).collect();
    assert_eq!(sources[..2], [Source::Neighbour, Source::Neighbour]);
    assert!(sources[2..].iter().all(|source| *source == Source::Local));
    assert_eq!(mesh.call(3, "shop/chain", &[4, 5]), Ok(18));
}

#[test]
fn a_call_for_another_node_crosses_the_mesh_and_so_do_its_result_and_its_faults() {
    let mesh = Mesh::new(3);
    mesh.publish(&[chain(), add(0)]).unwrap();
    let last = Some(NodeId(3));
    assert_eq!(mesh.call_at(1, last, "shop/chain", &[2, 3]), Ok(10));
    let calls = |node: usize| mesh.nodes[node - 1].status().unwrap().counters.acquired;
    assert_eq!(
        calls(1),
        nimblenet_core::Acquired::default(),
        "node 1 ran nothing"
    );
    assert!(calls(3).registry > 0);
    let unknown = mesh.call_at(1, last, "shop/nothing", &[]).unwrap_err();
    assert_eq!(unknown, "unknown-tasklet");
    let absent = mesh
        .call_at(1, Some(NodeId(77)), "shop/chain", &[2, 3])
        .unwrap_err();
    assert_eq!(absent, "unreachable");
}

#[test]
fn a_new_version_moves_one_module_and_reaches_nodes_that_hold_the_old_one() {
    let mesh = Mesh::new(2);
    mesh.publish(&[chain(), add(0)]).unwrap();
    assert_eq!(mesh.call(2, "shop/chain", &[2, 3]), Ok(10));
    let moved = mesh.publish(&[chain(), add(1)]).unwrap()[0];
    assert_eq!((moved.entries, moved.unchanged, moved.modules), (1, 1, 1));
    let again = mesh.publish(&[chain(), add(1)]).unwrap()[0];
    assert_eq!((again.entries, again.epoch), (0, 2));
    // The new epoch spreads by itself; until then the node answers with the old version.
    let mut answer = 0;
    for _ in 0..200 {
        answer = mesh.call(2, "shop/chain", &[2, 3]).unwrap();
        if answer == 13 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(answer, 13);
}

#[test]
fn whatever_goes_wrong_has_a_code_and_the_next_call_is_served() {
    let mesh = Mesh::new(1);
    mesh.publish(&[chain(), add(0), endless(), trapping()])
        .unwrap();
    let refused = |name: &str, args: &[u32]| mesh.call(1, name, args).unwrap_err();
    for (name, args, code) in [
        ("shop/nothing", &[][..], "unknown-tasklet"),
        ("lab/add", &[1, 2], "unknown-namespace"),
        ("shop/add", &[1], "wrong-arguments"),
        ("shop/endless", &[], "out-of-fuel"),
        ("shop/trapping", &[], "trapped"),
    ] {
        assert_eq!(refused(name, args), code, "{name}");
        assert_eq!(mesh.call(1, "shop/add", &[2, 3]), Ok(5), "after {name}");
    }
}

#[test]
fn a_node_keeps_its_catalogue_over_a_restart_and_a_damaged_one_is_not_used() {
    let mut mesh = Mesh::new(1);
    mesh.publish(&[add(0)]).unwrap();
    assert_eq!(mesh.call(1, "shop/add", &[2, 3]), Ok(5));
    let last = mesh.nodes.pop().unwrap().stop(PATIENCE).unwrap();
    assert_eq!(last.counters.completed, 1);
    assert_eq!(last.epochs, [(Name::new("shop").unwrap(), 1)]);
    let shop = Name::new("shop").unwrap();
    let dir = mesh.data.path().join("state-1");
    let kept = |dir: &Path| keeper::kept(dir, &shop, &key().public());
    assert!(kept(&dir).is_some());
    let stranger = SigningKey::from_secret(&[8; 32]);
    assert!(keeper::kept(&dir, &shop, &stranger.public()).is_none());
    let file = dir.join("shop.catalogue");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(kept(&dir).is_none());
}

#[test]
fn a_stopping_daemon_refuses_new_calls_and_ends() {
    let mut mesh = Mesh::new(1);
    mesh.publish(&[add(0)]).unwrap();
    assert!(mesh.registry.take().unwrap().stop(PATIENCE).is_some());
    let node = mesh.nodes.pop().unwrap();
    let status = node.status().unwrap();
    assert_eq!(status.id, NodeId(1));
    assert!(node.stop(Duration::ZERO).is_some());
}

#[test]
fn fault_01_of_a_hundred_callers_at_once_as_many_get_results_as_there_are_places_for_jobs() {
    let mesh = Mesh::new(1);
    mesh.publish(&[add(0), chain()]).unwrap();
    assert_eq!(mesh.call(1, "shop/chain", &[1, 2]), Ok(6));
    let node = &mesh.nodes[0];
    let results: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..100u32)
            .map(|number| {
                let args = minicbor::to_vec([number, 1]).unwrap();
                let name = TaskletName::new("shop/chain").unwrap();
                scope.spawn(move || {
                    node.call(Call {
                        name,
                        export: String::new(),
                        args,
                        deadline: None,
                        priority: Priority::Normal,
                        client: None,
                        key: None,
                        from: None,
                        at: None,
                    })
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap().result)
            .collect()
    });
    let mut answered = 0;
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(bytes) => {
                let [value] = minicbor::decode::<[u32; 1]>(&bytes).unwrap();
                assert_eq!(value, 2 * (number + 1));
                answered += 1;
            }
            Err(fault) => assert_eq!(fault, Fault::Busy),
        }
    }
    assert!(answered >= 64, "{answered} of 100");
}

#[test]
fn fault_01_a_quick_call_is_answered_while_sixteen_long_ones_run() {
    let mesh = Mesh::new(1);
    let wat =
        "(module (func (export \"run\") (param i32 i32) (result i32) (loop (br 0)) (i32.const 0)))";
    let spin = package("shop/spin", BINARY, wat, &[]);
    mesh.publish(&[add(0), spin]).unwrap();
    assert_eq!(mesh.call(1, "shop/add", &[1, 2]), Ok(3));
    let node = &mesh.nodes[0];
    let call = |name| {
        node.call(Call {
            name: TaskletName::new(name).unwrap(),
            export: String::new(),
            args: minicbor::to_vec([1u32, 2]).unwrap(),
            deadline: None,
            priority: Priority::Normal,
            client: None,
            key: None,
            from: None,
            at: None,
        })
    };
    std::thread::scope(|scope| {
        let long: Vec<_> = (0..16).map(|_| scope.spawn(|| call("shop/spin"))).collect();
        assert!(call("shop/add").result.is_ok());
        for long in long {
            assert_eq!(long.join().unwrap().result, Err(Fault::OutOfFuel));
        }
    });
}
