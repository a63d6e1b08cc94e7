//! The interface over CoAP, tested by raw datagrams on real sockets.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use core::net::{Ipv4Addr, SocketAddrV6};
use socket2::SockRef;
use std::process::{Command, Stdio};

use super::*;

/// A node without neighbours whose CoAP address is `coap`; nothing if there is no such address.
fn lone(coap: &str) -> Option<(Daemon, SocketAddr)> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let sockets = Sockets::bind(any, Some(coap.parse().unwrap())).ok()?;
    let config = NodeConfig::new(MeshConfig::new(NodeId(1), any));
    let node = Daemon::node(config, Some(sockets)).unwrap();
    let at = node.addresses().coap.unwrap();
    Some((node, at))
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn message(kind: MessageType, method: u8, id: u16, path: &str, query: &str) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(kind);
    packet.header.code = MessageClass::from(method);
    packet.header.message_id = id;
    packet.set_token(id.to_be_bytes().to_vec());
    for segment in path.split('/') {
        packet.add_option(CoapOption::UriPath, segment.into());
    }
    if !query.is_empty() {
        packet.add_option(CoapOption::UriQuery, query.into());
    }
    packet
}

fn get(id: u16, path: &str) -> Packet {
    message(MessageType::Confirmable, 1, id, path, "")
}

fn observe(id: u16, path: &str) -> Packet {
    let mut packet = get(id, path);
    packet.add_option(CoapOption::Observe, Vec::new());
    packet
}

fn send(socket: &UdpSocket, to: SocketAddr, packet: &Packet) {
    socket.send_to(&packet.to_bytes().unwrap(), to).unwrap();
}

/// The next message with content; confirmable ones are acknowledged.
fn receive(socket: &UdpSocket) -> (Packet, SocketAddr) {
    let mut buffer = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        let packet = Packet::from_bytes(&buffer[..len]).unwrap();
        if packet.header.get_type() == MessageType::Confirmable {
            let [high, low] = packet.header.message_id.to_be_bytes();
            socket.send_to(&[0x60, 0, high, low], from).unwrap();
        }
        if packet.header.code != MessageClass::Empty {
            return (packet, from);
        }
    }
}

fn code(packet: &Packet) -> String {
    packet.header.get_code()
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    for (at, from, asked) in [
        ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"),
        ("[::]:0", "127.0.0.1:0", "127.0.0.2"),
        ("[::]:0", "[::1]:0", "::1"),
    ] {
        let Some((_node, address)) = lone(at) else {
            assert!(at.starts_with('['), "this machine has no IPv6");
            continue;
        };
        let asked = SocketAddr::new(asked.parse().unwrap(), address.port());
        let client = client(from);
        send(&client, asked, &get(1, "status"));
        let (answer, from) = receive(&client);
        assert_eq!((code(&answer).as_str(), from), ("2.05", asked), "{at}");
    }
}

/// An IPv6 address of this machine, on an interface that can multicast.
fn multicast_v6() -> Option<(core::net::Ipv6Addr, u32)> {
    use nix::net::if_::{InterfaceFlags, if_nametoindex};
    let can = InterfaceFlags::IFF_MULTICAST | InterfaceFlags::IFF_UP;
    nix::ifaddrs::getifaddrs().unwrap().find_map(|one| {
        let address = one.address.as_ref()?.as_sockaddr_in6()?.ip();
        let usable = one.flags.contains(can) && !address.is_unicast_link_local();
        let interface = if_nametoindex(&*one.interface_name).ok()?;
        usable.then_some((address, interface))
    })
}

#[test]
fn a_group_is_answered_by_the_node_s_own_address_within_the_time_of_leisure() {
    let v4 = SocketAddr::from(([224, 0, 1, 187], 0));
    let lo = Ipv4Addr::LOCALHOST;
    let mut places: Vec<_> = ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"]
        .map(|at| (at.to_owned(), v4, "127.0.0.1:0"))
        .into();
    let mut interface = 0;
    if let Some((address, number)) = multicast_v6() {
        interface = number;
        let group = SocketAddrV6::new("ff02::fd".parse().unwrap(), 0, 0, number);
        places.push((format!("[{address}]:0"), group.into(), "[::]:0"));
        places.push(("[::]:0".to_owned(), group.into(), "[::]:0"));
    }
    let mut asked = Vec::new();
    for (at, mut group, from) in places {
        let Some((node, address)) = lone(&at) else {
            assert!(at.starts_with('['), "this machine has no IPv6");
            continue;
        };
        let client = client(from);
        let socket = SockRef::from(&client);
        if group.is_ipv4() {
            socket.set_multicast_if_v4(&lo).unwrap();
        } else {
            socket.set_multicast_if_v6(interface).unwrap();
        }
        group.set_port(address.port());
        let path = ".well-known/core";
        let no_match = message(MessageType::NonConfirmable, 1, 1, path, "rt=nothing");
        send(&client, group, &no_match);
        send(&client, group, &get(2, path));
        let discovery = message(MessageType::NonConfirmable, 1, 3, path, "href=/status");
        send(&client, group, &discovery);
        asked.push((node, address, client, at));
    }
    for (_node, address, client, at) in &asked {
        let (answer, from) = receive(client);
        assert_eq!(answer.get_token(), 3_u16.to_be_bytes(), "{at}");
        assert_eq!(answer.payload, b"</status>;ct=60;obs", "{at}");
        assert_eq!(from.port(), address.port(), "{at}");
        assert!(!from.ip().is_multicast(), "{at}");
    }
}

/// Counts down, so that it runs for a while.
fn slow() -> Vec<u8> {
    let wat = "(module (func (export \"run\") (param i32 i32) (result i32)
        (loop $l
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br_if $l (local.get 0)))
        (local.get 1)))";
    package("shop/slow", BINARY, wat, &[])
}

#[test]
fn calls_are_observed_and_so_is_the_result_of_one() {
    let mesh = Mesh::new(1);
    mesh.publish(&[slow()]).unwrap();
    assert_eq!(mesh.call(1, "shop/slow", &[1, 2]), Ok(2));
    let node = mesh.addresses[1].coap.unwrap();
    let watcher = client("127.0.0.1:0");
    send(&watcher, node, &observe(1, "jobs"));
    let (first, _) = receive(&watcher);
    assert_eq!(first.payload, [0x80], "no calls");
    let order = |packet: &Packet| packet.get_first_option(CoapOption::Observe).cloned();
    assert!(order(&first).is_some());

    let caller = client("127.0.0.1:0");
    for id in 1..=10_u16 {
        let mut call = message(MessageType::NonConfirmable, 2, id, "t/shop/slow", "");
        call.payload = minicbor::to_vec([5_000_000, u32::from(id)]).unwrap();
        send(&caller, node, &call);
    }
    // The newest of the calls, once there are several.
    let last = loop {
        let (told, _) = receive(&watcher);
        assert!(order(&told) > order(&first), "it is told in order");
        let mut jobs = minicbor::Decoder::new(&told.payload);
        let count = jobs.array().unwrap().unwrap();
        let mut newest = 0;
        for _ in 0..count {
            for _ in 0..jobs.map().unwrap().unwrap() {
                if jobs.str().unwrap() == "call" {
                    newest = jobs.u32().unwrap();
                } else {
                    jobs.skip().unwrap();
                }
            }
        }
        if count > 5 {
            break newest;
        }
    };
    let path = format!("jobs/{last}");
    let follower = client("127.0.0.1:0");
    send(&follower, node, &observe(2, &path));
    let mut told = receive(&follower).0;
    assert!(order(&told).is_some(), "it is in progress");
    while order(&told).is_some() {
        told = receive(&follower).0;
    }
    assert_eq!(code(&told), "2.05");
    let [result] = minicbor::decode::<[u32; 1]>(&told.payload).unwrap();
    assert!((1..=10).contains(&result));
    // A client that asks later gets the result too; a call that never was has none.
    send(&follower, node, &get(3, &path));
    assert_eq!(receive(&follower).0.payload, told.payload);
    send(&follower, node, &observe(4, "jobs/4000000000"));
    let (unknown, _) = receive(&follower);
    assert_eq!((code(&unknown).as_str(), order(&unknown)), ("4.04", None));
    // The watcher sees the last call go.
    loop {
        let (told, _) = receive(&watcher);
        if told.payload == [0x80] {
            break;
        }
    }
}

#[test]
fn fault_09_of_a_hundred_clients_that_read_three_blocks_at_once_each_gets_them() {
    let mesh = Mesh::new(1);
    let node = mesh.addresses[1].coap.unwrap();
    // The list of links has more than three blocks, and all clients ask at once.
    let many: Vec<_> = (0..60)
        .map(|number| {
            package(
                &format!("shop/n-{number}"),
                BINARY,
                "(module (func (export \"run\") (param i32 i32) (result i32) (i32.const 0)))",
                &[],
            )
        })
        .collect();
    mesh.publish(&many).unwrap();
    assert_eq!(mesh.call(1, "shop/n-0", &[1, 2]), Ok(0));
    let links = mesh.runtime.block_on(async {
        let clients = (0..100).map(|_| async move {
            let timers = crate::coap::Timers::NEAR;
            let connected = crate::coap::Client::connect(node, timers, PATIENCE).await;
            let request = crate::coap::Request::new(crate::coap::Method::Get, ".well-known/core");
            connected.unwrap().request(&request).await.unwrap().payload
        });
        let tasks: Vec<_> = clients.map(tokio::spawn).collect();
        let mut links = Vec::new();
        for task in tasks {
            links.push(task.await.unwrap());
        }
        links
    });
    assert!(links[0].len() > 2048);
    assert!(links.iter().all(|one| *one == links[0]));
}

#[test]
fn fault_14_another_client_filters_links_and_observes_a_node() {
    let tool = "coap-client-notls";
    if Command::new(tool).arg("-h").output().is_err() {
        let in_ci = std::env::var_os("CI").is_some();
        assert!(!in_ci, "{tool} is to be installed");
        return;
    }
    let (_node, at) = lone("127.0.0.1:0").unwrap();
    let ask = |args: &[&str], target: &str| {
        let target = format!("coap://{at}/{target}");
        let mut command = Command::new(tool);
        let command = command.args(args).arg(target).stdin(Stdio::null());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let links = ask(&[], ".well-known/core?href=/j*");
    assert_eq!(links.trim(), "</jobs>;ct=60;obs");
    assert_eq!(ask(&[], ".well-known/core?rt=none").trim(), "");
    // There are the first answer and at least one notification, each with the node's id.
    let told = ask(&["-s", "7"], "status");
    assert!(told.matches("uptime_ms").count() >= 2, "{told:?}");
}
