//! Client and server over real sockets that lose datagrams.

use super::*;
use crate::clock::Clock;
use core::net::SocketAddr;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

const TIMERS: Timers = Timers {
    ack_timeout: Duration::from_millis(20),
    max_retransmit: 6,
    processing: Duration::from_millis(30),
    leisure: Duration::ZERO,
    silence: Duration::from_millis(40),
};

/// A server that loses every `lose`-th datagram in each direction. It answers each request with the
/// request's body, after `slow` at the earliest, and reports the requests that it has run.
fn echo(lose: usize, slow: Duration) -> (SocketAddr, Receiver<Request>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    let (ran, seen) = channel();
    std::thread::spawn(move || {
        let clock = Clock::start();
        let mut server = Server::new(ServerLimits::DEFAULT, TIMERS, 1);
        let (mut taken, mut sent) = (0, 0);
        let mut working = Vec::new();
        let mut buffer = [0; 2000];
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    taken += 1;
                    if lose == 0 || taken % lose != 0 {
                        server.handle(clock.now(), Ends::to(from), &buffer[..len]);
                    }
                }
                Err(error) => assert!(matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut
                )),
            }
            let now = clock.now();
            server.handle_timeout(now);
            while let Some((id, request)) = server.poll_request() {
                working.push((now + slow, id, request.payload.clone()));
                if ran.send(request).is_err() {
                    return;
                }
            }
            working.retain(|(due, id, body)| {
                let done = *due <= now;
                if done {
                    let response = Response::new(Code::CONTENT, Format::BYTES, body.clone());
                    server.respond(now, *id, &response);
                }
                !done
            });
            while let Some((to, bytes)) = server.poll_transmit() {
                sent += 1;
                if lose == 0 || sent % lose != 0 {
                    socket.send_to(&bytes, to.remote).unwrap();
                }
            }
        }
    });
    (address, seen)
}

fn post(bytes: usize) -> Request {
    let mut request = Request::new(Method::Post, "echo");
    request.payload = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
    request
}

async fn client(server: SocketAddr) -> Client {
    let patience = Duration::from_secs(10);
    Client::connect(server, TIMERS, patience).await.unwrap()
}

#[tokio::test]
async fn bodies_of_any_size_arrive_whole_and_once_whatever_is_lost() {
    for lose in [0, 2, 3] {
        let (server, ran) = echo(lose, Duration::ZERO);
        let mut client = client(server).await;
        for bytes in [0, 1, 1024, 1025, 10_000] {
            let request = post(bytes);
            let response = client.request(&request).await.unwrap();
            assert_eq!(response.payload, request.payload);
            assert_eq!(ran.recv().unwrap(), request);
        }
        assert!(ran.try_recv().is_err(), "a repeated request ran again");
    }
}

#[tokio::test]
async fn an_answer_that_takes_long_comes_separately_whatever_is_lost() {
    for lose in [0, 2, 3] {
        let (server, ran) = echo(lose, Duration::from_millis(100));
        let mut client = client(server).await;
        for bytes in [5, 3000] {
            let request = post(bytes);
            let response = client.request(&request).await.unwrap();
            assert_eq!(response.payload, request.payload);
        }
        assert_eq!(ran.try_iter().count(), 2);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_reported() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut to_silent = client(silent.local_addr().unwrap()).await;
    let error = to_silent.request(&post(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable));
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut to_gone = client(gone.local_addr().unwrap()).await;
    drop(gone);
    let error = to_gone.request(&post(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused));
}

/// A server that acknowledges one request and, if it is to, goes on receiving; returns how many pings came.
fn acknowledge(socket: &UdpSocket, goes_on: bool) -> usize {
    let mut buffer = [0; 2000];
    let (_, from) = socket.recv_from(&mut buffer).unwrap();
    let acknowledgement = [0x60, 0, buffer[2], buffer[3]];
    socket.send_to(&acknowledgement, from).unwrap();
    let receive = || socket.recv_from(&mut buffer).map(|(len, _)| len);
    let times = if goes_on { usize::MAX } else { 0 };
    let lens = core::iter::repeat_with(receive).take(times);
    lens.take_while(Result::is_ok).count()
}

#[tokio::test]
async fn a_server_that_is_gone_after_it_took_the_request_is_noticed_long_before_the_patience_is_over()
 {
    for goes_on in [true, false] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut client = client(socket.local_addr().unwrap()).await;
        let pause = Some(Duration::from_secs(1));
        socket.set_read_timeout(pause).unwrap();
        let server = std::thread::spawn(move || acknowledge(&socket, goes_on));
        let error = client.request(&post(1)).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent), "{error:?}");
        assert_eq!(server.join().unwrap(), if goes_on { 6 } else { 0 });
    }
}

#[tokio::test]
async fn the_client_speaks_with_another_server() {
    let tool = "coap-server-notls";
    let reserved = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let port = address.port().to_string();
    let server = Command::new(tool)
        .args(["-A", "127.0.0.1", "-p", &port, "-d", "4"])
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut server) = server else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{tool} is to be installed"
        );
        return;
    };
    let timers = Timers::NEAR;
    let patience = Duration::from_secs(10);
    let mut client = Client::connect(address, timers, patience).await.unwrap();
    let links = Request::new(Method::Get, ".well-known/core");
    let links = client.request(&links).await.unwrap();
    assert_eq!(links.format, Some(Format::LINKS));
    // Both bodies have more than one block.
    let mut put = Request::new(Method::Put, "big");
    put.payload = post(5000).payload;
    assert!(client.request(&put).await.unwrap().code.is_success());
    let got = client.request(&Request::new(Method::Get, "big")).await;
    assert_eq!(got.unwrap().payload, put.payload);
    // The answer comes separately, after some seconds.
    let mut slow = Request::new(Method::Get, "async");
    slow.query = vec!["1".into()];
    assert_eq!(client.request(&slow).await.unwrap().code, Code::CONTENT);
    server.kill().unwrap();
    server.wait().unwrap();
}
