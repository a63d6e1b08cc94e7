//! Reads requests from methods on paths.

use core::str::FromStr;
use core::time::Duration;

use nimblenet_core::{CallId, CallKey, ClientId, Priority};
use nimblenet_tasklet::api::{Method, Problem, Resource, query};
use nimblenet_tasklet::{Digest, Name, NodeId, TaskletName};

use super::{Filter, Media, Refused, Request, Wanted};
use crate::daemon::Call;
use crate::flow::Plan;
use crate::key::hex_bytes;

/// The arguments of a call without a payload: an empty CBOR array.
const NO_ARGUMENTS: &[u8] = &[0x80];

/// The longest deadline that a client may name, in milliseconds: a day.
const LONGEST_MS: u32 = 86_400_000;

/// A request as carriers of resources receive it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// The method.
    pub(crate) method: Method,
    /// The segments of the path.
    pub(crate) path: Vec<String>,
    /// The queries: `name` or `name=value`.
    pub(crate) query: Vec<String>,
    /// The format of the payload, if the client names it.
    pub(crate) media: Option<Media>,
    /// The format of the answer, if the client names it.
    pub(crate) accept: Option<Media>,
    /// The body.
    pub(crate) payload: Vec<u8>,
}

impl Asked {
    /// The request that it is.
    ///
    /// # Errors
    /// [`Refused`] if there is no such resource, or a name, number or query is wrong.
    pub(crate) fn read(self) -> Result<Request, Refused> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let resource = Resource::find(self.method, &path);
        let resource = resource.map_err(|problem| Refused::new(problem, "see .well-known/core"))?;
        if let Some((media, what)) = media(resource)
            && self.accept.is_some_and(|accept| accept != media)
        {
            return Err(Refused::new(Problem::NotAcceptable, what));
        }
        match (resource, &path[..]) {
            (Resource::Discovery, _) => Ok(Request::Discovery {
                filters: self.filters(),
            }),
            (Resource::Status, _) => Ok(Request::Status),
            (Resource::Jobs, _) => Ok(Request::Jobs),
            (Resource::Job, [.., call]) => Ok(Request::Job {
                call: read_call(call)?,
            }),
            (Resource::CancelJob, [.., call]) => Ok(Request::CancelJob {
                call: read_call(call)?,
            }),
            (Resource::Cache, _) => Ok(Request::Cache),
            (Resource::Logs, _) => Ok(Request::Logs {
                from: self.from("from is the number of a line")?,
            }),
            (Resource::Triggers, _) => Ok(Request::Triggers {
                from: self.from("from is the number of a trigger")?,
            }),
            (Resource::Move, [.., call]) => {
                let to = self.node(query::TO)?;
                Ok(Request::Move {
                    call: read_call(call)?,
                    to: to.ok_or_else(|| bad("to=ID says which node"))?,
                })
            }
            (Resource::Drain, _) => Ok(Request::Drain {
                drains: self.query(query::END).is_none(),
            }),
            (Resource::Call, [.., namespace, name]) => {
                let name = TaskletName::new(&format!("{namespace}/{name}"));
                self.call(name.map_err(|error| bad(error.to_string()))?)
            }
            (Resource::Claim, [.., namespace, name]) => {
                let name = TaskletName::new(&format!("{namespace}/{name}"));
                self.claim(name.map_err(|error| bad(error.to_string()))?)
            }
            (Resource::Cancel, [.., namespace, name]) => {
                let name = TaskletName::new(&format!("{namespace}/{name}"));
                Ok(Request::Cancel {
                    name: name.map_err(|error| bad(error.to_string()))?,
                    key: self.whole_key()?,
                })
            }
            (Resource::Flows, _) => Ok(Request::Flows),
            (Resource::BeginFlow, [.., name]) => self.begin_flow(read_name(name)?),
            (Resource::Items, [.., name]) => Ok(Request::Items {
                name: read_name(name)?,
                from: self.from("from is the number of an item")?,
            }),
            (Resource::Give, [.., name]) => {
                let name = read_name(name)?;
                self.is_cbor("an item is CBOR")?;
                let value = self.payload;
                Ok(Request::Give { name, value })
            }
            (Resource::EndFlow, [.., name]) => Ok(Request::EndFlow {
                name: read_name(name)?,
            }),
            (Resource::Namespaces, _) => Ok(Request::Namespaces),
            (Resource::Delta, [.., namespace]) => Ok(Request::Delta {
                namespace: read_name(namespace)?,
                from: self.from("from is an epoch number")?,
            }),
            (Resource::History, [_, namespace, ..]) => Ok(Request::History {
                namespace: read_name(namespace)?,
            }),
            (Resource::Past, [_, namespace, .., epoch]) => Ok(Request::Past {
                namespace: read_name(namespace)?,
                epoch: epoch.parse().map_err(|_| bad("an epoch is a number"))?,
            }),
            (Resource::Publish, [.., namespace]) => Ok(Request::Publish {
                namespace: read_name(namespace)?,
                key: self
                    .query(query::KEY)
                    .map(str::parse)
                    .transpose()
                    .map_err(|_| bad("key is 64 hexadecimal digits"))?,
                anyway: self.query(query::ANYWAY).is_some(),
                delta: self.payload,
            }),
            (Resource::Module, [.., digest]) => Ok(Request::Module {
                digest: read_digest(digest)?,
            }),
            (Resource::Stage, [.., digest]) => Ok(Request::Stage {
                digest: read_digest(digest)?,
                module: self.payload,
            }),
            _ => unreachable!("a resource has a path, and its words are there"),
        }
    }

    fn call(&self, name: TaskletName) -> Result<Request, Refused> {
        self.is_cbor("arguments are CBOR")?;
        let args = match &self.payload[..] {
            [] => NO_ARGUMENTS,
            args => args,
        };
        Ok(Request::Call {
            call: Call {
                name,
                export: self.query(query::EXPORT).unwrap_or("").to_owned(),
                args: args.to_vec(),
                at: self.node(query::AT)?,
                deadline: self.deadline()?,
                priority: self.priority()?,
                client: self.number(query::CLIENT)?.map(ClientId),
                key: self.key()?,
                from: None,
            },
            wanted: Wanted {
                explain: self.query(query::EXPLAIN).is_some(),
                logs: self.query(query::LOGS).is_some(),
            },
        })
    }

    /// Whether the payload is CBOR, as far as the client says.
    fn is_cbor(&self, meaning: &str) -> Result<(), Refused> {
        match self.media {
            None | Some(Media::Cbor) => Ok(()),
            Some(_) => Err(Refused::new(Problem::UnsupportedFormat, meaning)),
        }
    }

    fn begin_flow(&self, name: Name) -> Result<Request, Refused> {
        self.is_cbor("the plan of a flow is CBOR")?;
        let plan = Plan::read(&self.payload);
        let plan = plan.map_err(|what| {
            let message = format!("the plan of flow {name}: {what}");
            Refused::new(Problem::BadPlan, message)
        })?;
        Ok(Request::BeginFlow { name, plan })
    }

    fn claim(&self, name: TaskletName) -> Result<Request, Refused> {
        let key = self.whole_key()?;
        let call = Call {
            name,
            export: String::new(),
            args: Vec::new(),
            at: self.node(query::AT)?,
            deadline: None,
            priority: Priority::Normal,
            client: Some(key.client),
            key: None,
            from: None,
        };
        Ok(Request::Claim { call, key })
    }

    /// The conditions on links. A bare name matches the empty value.
    fn filters(&self) -> Vec<Filter> {
        let filters = self.query.iter().map(|query| {
            let (name, value) = query.split_once('=').unwrap_or((query, ""));
            Filter {
                name: name.to_owned(),
                value: value.to_owned(),
            }
        });
        filters.collect()
    }

    /// The value of the query `name=value`; empty for a bare `name`.
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find_map(|query| {
            let rest = query.strip_prefix(name)?;
            if rest.is_empty() {
                Some("")
            } else {
                rest.strip_prefix('=')
            }
        })
    }

    /// The epoch or number after which changes are wanted; 0 without the query.
    fn from<N: FromStr + Default>(&self, meaning: &str) -> Result<N, Refused> {
        let from = self.query(query::FROM).map(str::parse).transpose();
        let from = from.map_err(|_| bad(meaning))?;
        Ok(from.unwrap_or_default())
    }

    /// How long a call may take, if the client says so: a day at most, as the configuration.
    fn deadline(&self) -> Result<Option<Duration>, Refused> {
        let wanted = self.number(query::DEADLINE)?;
        match wanted {
            Some(0) => Err(bad("deadline is in milliseconds, and not 0")),
            Some(ms) if ms > LONGEST_MS => Err(bad(format!(
                "deadline is in milliseconds, {LONGEST_MS} at most"
            ))),
            wanted => Ok(wanted.map(|ms| Duration::from_millis(ms.into()))),
        }
    }

    /// How urgent a call is; normal if the client does not say.
    fn priority(&self) -> Result<Priority, Refused> {
        let Some(name) = self.query(query::PRIORITY) else {
            return Ok(Priority::Normal);
        };
        Priority::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Priority::ALL.iter().map(|it| it.name()).collect();
            bad(format!("priority is one of {}", names.join(", ")))
        })
    }

    /// By what the client asks for the result of its call, if it says so.
    fn key(&self) -> Result<Option<CallKey>, Refused> {
        let client = self.number(query::CLIENT)?.map(ClientId);
        let number = self.number(query::NUMBER)?;
        match (client, number) {
            (Some(client), Some(number)) => Ok(Some(CallKey { client, number })),
            (None, Some(_)) => Err(bad("number needs client=NUMBER, whose number it is")),
            (_, None) => Ok(None),
        }
    }

    /// By what the client names the call that it has made.
    fn whole_key(&self) -> Result<CallKey, Refused> {
        let key = self.key()?;
        key.ok_or_else(|| bad("client=NUMBER and number=NUMBER say which call"))
    }

    /// The value of a query that is a number.
    fn number(&self, query: &str) -> Result<Option<u32>, Refused> {
        let number = self.query(query).map(str::parse).transpose();
        number.map_err(|_| bad(format!("{query} is a number, 0 to 4294967295")))
    }

    /// The node that a query names.
    fn node(&self, query: &str) -> Result<Option<NodeId>, Refused> {
        let Some(text) = self.query(query) else {
            return Ok(None);
        };
        let id = text.parse().ok().map(NodeId);
        match id.filter(|id| *id != NodeId::EVERYONE) {
            Some(id) => Ok(Some(id)),
            None => Err(bad(format!("{query} is the number of a node, 0 to 65534"))),
        }
    }
}

/// The only format of a resource's answer, and a sentence that says so; nothing if the answer has no
/// body.
fn media(resource: Resource) -> Option<(Media, &'static str)> {
    match resource {
        Resource::Call | Resource::Claim => Some((Media::Cbor, "results are CBOR (format 60)")),
        Resource::Discovery => Some((Media::Links, "links are of format 40")),
        Resource::Status
        | Resource::Jobs
        | Resource::Job
        | Resource::Cache
        | Resource::Logs
        | Resource::Triggers
        | Resource::Flows
        | Resource::Items
        | Resource::Namespaces
        | Resource::Delta
        | Resource::History
        | Resource::Past
        | Resource::Publish => Some((Media::Cbor, "this resource is CBOR (format 60)")),
        Resource::Module => Some((Media::Bytes, "modules are bytes (format 42)")),
        Resource::Cancel
        | Resource::CancelJob
        | Resource::Move
        | Resource::Drain
        | Resource::BeginFlow
        | Resource::Give
        | Resource::EndFlow
        | Resource::Stage => None,
    }
}

fn read_call(text: &str) -> Result<CallId, Refused> {
    let number = text.parse().map(CallId);
    number.map_err(|_| bad("a call is a number of /jobs"))
}

fn read_name(text: &str) -> Result<Name, Refused> {
    Name::new(text).map_err(|error| bad(error.to_string()))
}

fn read_digest(text: &str) -> Result<Digest, Refused> {
    let bytes = hex_bytes(text);
    bytes.map(Digest).map_err(|error| bad(error.to_string()))
}

fn bad(message: impl Into<String>) -> Refused {
    Refused::new(Problem::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, query: &[&str]) -> Asked {
        Asked {
            method,
            path: path.split('/').map(str::to_owned).collect(),
            query: query.iter().map(|&query| query.to_owned()).collect(),
            media: None,
            accept: None,
            payload: Vec::new(),
        }
    }

    #[test]
    fn a_query_has_a_value_or_none_and_its_whole_name_counts() {
        let asked = asked(Method::Get, "status", &["x=run", "explain"]);
        assert_eq!(asked.query("x"), Some("run"));
        assert_eq!(asked.query("explain"), Some(""));
        assert_eq!(asked.query("e"), None);
    }

    #[test]
    fn a_call_has_its_tasklet_node_and_export() {
        let queries = ["x=twice", "at=7", "explain", "logs"];
        let call = asked(Method::Post, "t/shop/add", &queries);
        let Ok(Request::Call { call, wanted }) = call.read() else {
            panic!("it is a call");
        };
        assert_eq!(call.name.to_string(), "shop/add");
        assert_eq!((call.export.as_str(), call.at), ("twice", Some(NodeId(7))));
        assert_eq!(call.args, NO_ARGUMENTS);
        assert_eq!((call.priority, call.deadline), (Priority::Normal, None));
        let (explain, logs) = (true, true);
        assert_eq!(wanted, Wanted { explain, logs });
    }

    #[test]
    fn a_call_says_how_urgent_it_is_and_how_long_it_may_take() {
        for (query, priority, deadline) in [
            (&["priority=high"][..], Priority::High, None),
            (
                &["priority=low", "deadline=1500"],
                Priority::Low,
                Some(1500),
            ),
            (&["deadline=86400000"], Priority::Normal, Some(86_400_000)),
        ] {
            let Ok(Request::Call { call, .. }) = asked(Method::Post, "t/shop/add", query).read()
            else {
                panic!("it is a call");
            };
            assert_eq!(call.priority, priority);
            assert_eq!(call.deadline, deadline.map(Duration::from_millis));
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        for (method, path, query, problem) in [
            (Method::Get, "nothing", "", Problem::UnknownResource),
            (Method::Put, "t/shop/add", "", Problem::MethodNotAllowed),
            (Method::Get, "t/shop/add", "", Problem::BadRequest),
            (Method::Get, "t/shop/add", "client=1", Problem::BadRequest),
            (Method::Get, "t/shop/add", "number=1", Problem::BadRequest),
            (Method::Post, "t/shop/add", "number=1", Problem::BadRequest),
            (Method::Delete, "t/shop/add", "", Problem::BadRequest),
            (
                Method::Delete,
                "t/shop/add",
                "client=1",
                Problem::BadRequest,
            ),
            (Method::Post, "t/shop/Add", "", Problem::BadRequest),
            (
                Method::Post,
                "t/shop/add",
                "priority=urgent",
                Problem::BadRequest,
            ),
            (
                Method::Post,
                "t/shop/add",
                "deadline=0",
                Problem::BadRequest,
            ),
            (
                Method::Post,
                "t/shop/add",
                "deadline=86400001",
                Problem::BadRequest,
            ),
            (
                Method::Post,
                "t/shop/add",
                "deadline=soon",
                Problem::BadRequest,
            ),
            (Method::Post, "t/shop/add", "at=65535", Problem::BadRequest),
            (Method::Post, "jobs/one", "to=1", Problem::BadRequest),
            (Method::Post, "jobs/1", "", Problem::BadRequest),
            (Method::Get, "r/shop", "from=x", Problem::BadRequest),
            (Method::Get, "logs", "from=-1", Problem::BadRequest),
            (Method::Put, "r/shop", "key=12", Problem::BadRequest),
            (Method::Put, "flows/vibration", "", Problem::BadPlan),
            (Method::Put, "flows/Vibration", "", Problem::BadRequest),
            (Method::Delete, "flows", "", Problem::MethodNotAllowed),
            (Method::Get, "m/12", "", Problem::BadRequest),
        ] {
            let refused = asked(method, path, &[query]).read().unwrap_err();
            assert_eq!(refused.problem, problem, "{path}?{query}");
        }
        let mut other = asked(Method::Post, "t/shop/add", &[]);
        other.media = Some(Media::Other);
        let refused = other.read().unwrap_err();
        assert_eq!(refused.problem, Problem::UnsupportedFormat);
    }

    #[test]
    fn an_answer_in_a_format_that_there_is_not_is_refused_before_anything_is_done() {
        let digest = format!("m/{}", "0".repeat(64));
        for (method, path, format) in [
            (Method::Get, "status", Media::Cbor),
            (Method::Get, "jobs", Media::Cbor),
            (Method::Get, "jobs/1", Media::Cbor),
            (Method::Get, "cache", Media::Cbor),
            (Method::Get, "logs", Media::Cbor),
            (Method::Get, "r", Media::Cbor),
            (Method::Get, "r/shop", Media::Cbor),
            (Method::Put, "r/shop", Media::Cbor),
            (Method::Get, ".well-known/core", Media::Links),
            (Method::Get, &digest, Media::Bytes),
            (Method::Post, "t/shop/add", Media::Cbor),
        ] {
            for accept in [Media::Cbor, Media::Links, Media::Bytes, Media::Other] {
                let mut asked = asked(method, path, &[]);
                asked.accept = Some(accept);
                let problem = asked.read().err().map(|refused| refused.problem);
                let expected = (accept != format).then_some(Problem::NotAcceptable);
                assert_eq!(problem, expected, "{path} as {accept:?}");
            }
        }
    }
}
