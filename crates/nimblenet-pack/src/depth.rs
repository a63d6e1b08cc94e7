//! How deep the stack gets: the deepest path over the call graph.
//!
//! The bytes that a function needs are those of its own frame, or those that it holds while it
//! calls and those that the callee needs. A call through a table may reach every function of its
//! type that a table can hold; that is more than it will reach, and never less. Only recursion
//! has no bound, and a function that takes a number of bytes which is known at run time.

use super::survey::{Callee, Survey};

/// How deep the stack gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Never deeper than this.
    Bounded {
        /// Bytes.
        bytes: u32,
        /// Whether a call through a table is on the way, so that the bytes are a bound and perhaps
        /// never reached.
        indirect: bool,
        /// The functions on the deepest path, outermost first.
        path: Vec<u32>,
    },
    /// These functions call each other in a circle, and hold stack meanwhile.
    Recursion {
        /// The functions; one that calls itself alone.
        functions: Vec<u32>,
        /// The bytes that one round takes at most.
        bytes: u32,
        /// Whether the circle is closed by a call through a table.
        indirect: bool,
    },
    /// This function takes a number of bytes that is known at run time only.
    Varies(u32),
}

/// What is known of a function.
#[derive(Clone, Copy, Default)]
struct Reach {
    bytes: u32,
    indirect: bool,
    /// The callee on the deepest path.
    next: Option<u32>,
}

/// Finds the deepest path from any of `roots`.
pub(super) fn of(survey: &Survey<'_>, roots: impl IntoIterator<Item = u32>) -> Depth {
    let mut walk = Walk::new(survey);
    let mut deepest: Option<(u32, Reach)> = None;
    for root in roots {
        if let Err(unbounded) = walk.visit(root) {
            return unbounded;
        }
        let reach = walk.reaches[root as usize];
        if deepest.is_none_or(|(_, than)| reach.bytes > than.bytes) {
            deepest = Some((root, reach));
        }
    }
    let Some((root, Reach { bytes, .. })) = deepest else {
        return Depth::Bounded {
            bytes: 0,
            indirect: false,
            path: Vec::new(),
        };
    };
    let on_path = |function: &u32| walk.reaches[*function as usize].next;
    let path: Vec<_> = std::iter::successors(Some(root), on_path)
        .take(walk.reaches.len())
        .collect();
    let indirect = deepest.is_some_and(|(_, reach)| reach.indirect);
    Depth::Bounded {
        bytes,
        indirect,
        path,
    }
}

/// One edge of the call graph.
#[derive(Clone, Copy)]
struct Edge {
    to: u32,
    held: u32,
    indirect: bool,
}

/// A walk over the call graph that finds its circles (Tarjan's algorithm, without recursion, for
/// modules may have long chains of calls).
struct Walk<'s> {
    survey: &'s Survey<'s>,
    /// The order in which functions were met; 0 of those that were not.
    met: Vec<u32>,
    /// The earliest function that is reachable and not yet settled.
    low: Vec<u32>,
    settled: Vec<bool>,
    /// Functions that were met and are not settled.
    open: Vec<u32>,
    reaches: Vec<Reach>,
    count: u32,
}

impl<'s> Walk<'s> {
    fn new(survey: &'s Survey<'s>) -> Self {
        let count = survey.function_count() as usize;
        Self {
            survey,
            met: vec![0; count],
            low: vec![0; count],
            settled: vec![false; count],
            open: Vec::new(),
            reaches: vec![Reach::default(); count],
            count: 0,
        }
    }

    fn edges(&self, function: u32) -> Vec<Edge> {
        let mut edges = Vec::new();
        for call in self
            .survey
            .flow(function)
            .into_iter()
            .flat_map(|it| &it.calls)
        {
            let held = call.held;
            match call.callee {
                Callee::Function(to) => edges.push(Edge {
                    to,
                    held,
                    indirect: false,
                }),
                Callee::Type(ty) => edges.extend(self.survey.candidates(ty).map(|to| Edge {
                    to,
                    held,
                    indirect: true,
                })),
            }
        }
        edges
    }

    fn meet(&mut self, function: u32) -> (u32, std::vec::IntoIter<Edge>) {
        self.count += 1;
        self.met[function as usize] = self.count;
        self.low[function as usize] = self.count;
        self.open.push(function);
        (function, self.edges(function).into_iter())
    }

    /// Settles `root` and what it calls.
    fn visit(&mut self, root: u32) -> Result<(), Depth> {
        if self.met[root as usize] != 0 {
            return Ok(());
        }
        let mut way = vec![self.meet(root)];
        while let Some((function, edges)) = way.last_mut() {
            let function = *function;
            if let Some(Edge { to, .. }) = edges.next() {
                if self.met[to as usize] == 0 {
                    let met = self.meet(to);
                    way.push(met);
                } else if !self.settled[to as usize] {
                    self.lower(function, self.met[to as usize]);
                }
                continue;
            }
            way.pop();
            let low = self.low[function as usize];
            if low == self.met[function as usize] {
                self.settle(function)?;
            }
            if let Some((caller, _)) = way.last() {
                self.lower(*caller, low);
            }
        }
        Ok(())
    }

    fn lower(&mut self, function: u32, low: u32) {
        let own = &mut self.low[function as usize];
        *own = (*own).min(low);
    }

    /// Settles the functions that call each other in a circle with `first`; mostly that is one.
    fn settle(&mut self, first: u32) -> Result<(), Depth> {
        let from = self.open.iter().rposition(|open| *open == first);
        let circle = self.open.split_off(from.unwrap_or(0));
        let mut deepest = Reach::default();
        for function in &circle {
            let Some(flow) = self.survey.flow(*function) else {
                continue;
            };
            if flow.varies {
                return Err(Depth::Varies(*function));
            }
            if flow.frame_bytes > deepest.bytes {
                deepest = Reach {
                    bytes: flow.frame_bytes,
                    ..Reach::default()
                };
            }
            for edge in self.edges(*function) {
                // What is not settled yet is part of the circle.
                if !self.settled[edge.to as usize] {
                    if edge.held > 0 {
                        return Err(self.recursion(circle));
                    }
                    continue;
                }
                let reach = self.reaches[edge.to as usize];
                let bytes = reach.bytes.saturating_add(edge.held);
                if bytes > deepest.bytes {
                    deepest = Reach {
                        bytes,
                        indirect: edge.indirect || reach.indirect,
                        next: Some(edge.to),
                    };
                }
            }
        }
        for function in circle {
            self.reaches[function as usize] = deepest;
            self.settled[function as usize] = true;
        }
        Ok(())
    }

    fn recursion(&self, circle: Vec<u32>) -> Depth {
        let mut bytes = 0u32;
        let mut indirect = false;
        for function in &circle {
            let inner = self.edges(*function).into_iter();
            let inner = inner.filter(|edge| !self.settled[edge.to as usize]);
            let mut held = 0;
            for edge in inner {
                held = held.max(edge.held);
                indirect |= edge.indirect;
            }
            bytes = bytes.saturating_add(held);
        }
        Depth::Recursion {
            functions: circle,
            bytes,
            indirect,
        }
    }
}
