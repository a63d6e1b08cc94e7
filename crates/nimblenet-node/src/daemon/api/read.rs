//! What a method on a path means.

use nimblenet_core::CallId;
use nimblenet_tasklet::api::{Method, Problem, Resource, query};
use nimblenet_tasklet::{Digest, Name, NodeId, TaskletName};

use super::{Media, Refused, Request};
use crate::daemon::Call;
use crate::key::hex_bytes;

/// The arguments of a call without a payload: an empty CBOR array.
const NO_ARGUMENTS: &[u8] = &[0x80];

/// A request as carriers of resources bring it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// What to do.
    pub(crate) method: Method,
    /// With what: the segments of the path.
    pub(crate) path: Vec<String>,
    /// Modifiers: `name` or `name=value`.
    pub(crate) query: Vec<String>,
    /// What the payload is, if that is said.
    pub(crate) media: Option<Media>,
    /// What the answer is wanted as, if that is said.
    pub(crate) accept: Option<Media>,
    /// The body.
    pub(crate) payload: Vec<u8>,
}

impl Asked {
    /// What it asks for.
    ///
    /// # Errors
    /// [`Refused`] if there is no such resource, or a name, number or query is wrong.
    pub(crate) fn read(self) -> Result<Request, Refused> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let resource = Resource::find(self.method, &path);
        let resource = resource.map_err(|problem| Refused::new(problem, "see .well-known/core"))?;
        match (resource, &path[..]) {
            (Resource::Discovery, _) => Ok(Request::Discovery),
            (Resource::Status, _) => Ok(Request::Status),
            (Resource::Jobs, _) => Ok(Request::Jobs),
            (Resource::Cache, _) => Ok(Request::Cache),
            (Resource::Move, [.., call]) => {
                let call = call.parse().ok().map(CallId);
                let to = self.node(query::TO)?;
                Ok(Request::Move {
                    call: call.ok_or_else(|| bad("a call is a number of /jobs"))?,
                    to: to.ok_or_else(|| bad("to=ID says which node"))?,
                })
            }
            (Resource::Call, [.., namespace, name]) => {
                let name = TaskletName::new(&format!("{namespace}/{name}"));
                self.call(name.map_err(|error| bad(error.to_string()))?)
            }
            (Resource::Namespaces, _) => Ok(Request::Namespaces),
            (Resource::Delta, [.., namespace]) => Ok(Request::Delta {
                namespace: read_name(namespace)?,
                from: self
                    .query(query::FROM)
                    .map_or(Ok(0), str::parse)
                    .map_err(|_| bad("from is an epoch number"))?,
            }),
            (Resource::Publish, [.., namespace]) => Ok(Request::Publish {
                namespace: read_name(namespace)?,
                key: self
                    .query(query::KEY)
                    .map(str::parse)
                    .transpose()
                    .map_err(|_| bad("key is 64 hexadecimal digits"))?,
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
        if self.media.is_some_and(|media| media != Media::Cbor) {
            let problem = Problem::UnsupportedFormat;
            return Err(Refused::new(problem, "arguments are CBOR"));
        }
        if self.accept.is_some_and(|media| media != Media::Cbor) {
            return Err(Refused::new(Problem::NotAcceptable, "results are CBOR"));
        }
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
                deadline: None,
            },
            explain: self.query(query::EXPLAIN).is_some(),
        })
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
        let call = asked(Method::Post, "t/shop/add", &["x=twice", "at=7", "explain"]);
        let Ok(Request::Call { call, explain }) = call.read() else {
            panic!("it is a call");
        };
        assert_eq!(call.name.to_string(), "shop/add");
        assert_eq!((call.export.as_str(), call.at), ("twice", Some(NodeId(7))));
        assert_eq!((call.args, explain), (NO_ARGUMENTS.to_vec(), true));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        for (method, path, query, problem) in [
            (Method::Get, "nothing", "", Problem::UnknownResource),
            (Method::Get, "t/shop/add", "", Problem::MethodNotAllowed),
            (Method::Post, "t/shop/Add", "", Problem::BadRequest),
            (Method::Post, "t/shop/add", "at=65535", Problem::BadRequest),
            (Method::Post, "jobs/one", "to=1", Problem::BadRequest),
            (Method::Post, "jobs/1", "", Problem::BadRequest),
            (Method::Get, "r/shop", "from=x", Problem::BadRequest),
            (Method::Put, "r/shop", "key=12", Problem::BadRequest),
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
}
