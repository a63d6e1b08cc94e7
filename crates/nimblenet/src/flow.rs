//! The file of a flow: where it begins and ends, and its operators.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::path::Path;

use nimblenet_core::{Feed, MAX_STAGES, StageKind, StagePlan};
use nimblenet_node::flow::{Plan, ROOM, read_kind};
use nimblenet_tasklet::{Name, NodeId, TaskletName};
use toml::{Table, Value};

use crate::failure::{BAD_FLOW, Coded};
use crate::inlet;
use crate::remote::Address;

/// The most sources of a flow, as many as a sink keeps apart.
const MAX_SOURCES: usize = 64;
/// The most items that a source keeps: as many as a Linux node keeps of all flows.
const ROOM_MAX: i64 = 1024;
/// The longest period of a source, in milliseconds: a day.
const PERIOD_MS_MAX: i64 = 86_400_000;

/// A flow as a person writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FlowFile {
    /// Its name.
    pub(crate) name: Name,
    /// The node at which it ends.
    pub(crate) sink: Address,
    /// The nodes at which it begins.
    pub(crate) sources: Vec<Address>,
    /// Other nodes, which may have operators.
    pub(crate) nodes: Vec<Address>,
    feed: Feed,
    operators: Vec<StagePlan>,
    at_sink: bool,
    room: u16,
}

impl FlowFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or a field is not what it should be: which one, what it is, and what it may
    /// be.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = inlet::text(path, inlet::TEXT_BYTES)?;
        let read = Self::parse(&text).map_err(|what| {
            let shown = path.display();
            let line = what
                .split(' ')
                .next()
                .and_then(|field| line_of(&text, field));
            let sentence = match line {
                Some((number, line)) => format!("{shown}:{number}: {what} (in `{line}`)"),
                None => format!("{shown}: {what}"),
            };
            Coded::new(BAD_FLOW, sentence)
        });
        Ok(read?)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table = text.parse::<Table>();
        let table = table.map_err(|error| error.to_string().trim_end().to_owned())?;
        let fields = Fields::new("", &table);
        fields.only(&[
            "name",
            "sink",
            "sources",
            "nodes",
            "feed",
            "operators",
            "at_sink",
            "room",
        ])?;
        let operators = fields.tables("operators")?;
        if operators.len() > MAX_STAGES {
            let what = format!(
                "has {} tables; a flow has {MAX_STAGES} at most",
                operators.len()
            );
            return Err(fields.wrong("operators", &what));
        }
        let operators = operators.iter().map(operator);
        let operators: Vec<_> = operators.collect::<Result<_, _>>()?;
        let room = fields.number("room", 1..=ROOM_MAX)?;
        let file = Self {
            name: fields.needed("name", fields.parsed("name")?)?,
            sink: fields.needed("sink", fields.parsed("sink")?)?,
            sources: fields.list("sources")?,
            nodes: fields.list("nodes")?,
            feed: feed(&fields)?,
            operators,
            at_sink: fields.bool("at_sink")?,
            room: room.map_or(ROOM, |room| room as u16),
        };
        if !(1..=MAX_SOURCES).contains(&file.sources.len()) {
            let what = format!("is a list of 1 to {MAX_SOURCES} addresses");
            return Err(fields.wrong("sources", &what));
        }
        if file.sources.contains(&file.sink) {
            return Err(fields.wrong(
                "sources",
                "has the address of the sink; a flow goes from node to node",
            ));
        }
        if let Some(twice) = file.twice() {
            let field = if file.sources.contains(twice) && !file.nodes.contains(twice) {
                "sources"
            } else {
                "nodes"
            };
            let what = format!("has {twice} again; the file names each node once");
            return Err(fields.wrong(field, &what));
        }
        let counts = file.operators.iter().map(|it| u64::from(it.count));
        let span = counts.fold(1, u64::saturating_mul);
        if span * 2 > u64::from(file.room) {
            let what = format!(
                "is {}; the source keeps twice as many items at least as make one output, {}",
                file.room,
                span.saturating_mul(2)
            );
            return Err(fields.wrong("room", &what));
        }
        Ok(file)
    }

    /// What its nodes are told, once the id of the sink is known.
    pub(crate) fn plan(&self, sink: NodeId) -> Plan {
        Plan {
            sink,
            feed: self.feed,
            operators: self.operators.clone(),
            at_sink: self.at_sink,
            room: self.room,
        }
    }

    /// An address that it names twice.
    fn twice(&self) -> Option<&Address> {
        let all: Vec<_> = self.all().collect();
        let mut rest = all.iter().enumerate();
        rest.find_map(|(at, one)| all[..at].contains(one).then_some(*one))
    }

    /// All nodes that it names: the sink, the sources, the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Address> {
        let others = self.sources.iter().chain(&self.nodes);
        core::iter::once(&self.sink).chain(others)
    }
}

fn feed(fields: &Fields<'_>) -> Result<Feed, String> {
    let Some(feed) = fields.table("feed")? else {
        return Ok(Feed::Given);
    };
    feed.only(&["tasklet", "every_ms"])?;
    let tasklet = feed.parsed::<TaskletName>("tasklet")?;
    let every = feed.number("every_ms", 1..=PERIOD_MS_MAX)?;
    let every = feed.needed("every_ms", every)?;
    Ok(Feed::Every {
        period: Duration::from_millis(every.unsigned_abs()),
        tasklet: feed.needed("tasklet", tasklet)?,
    })
}

fn operator(fields: &Fields<'_>) -> Result<StagePlan, String> {
    fields.only(&["kind", "tasklet", "count"])?;
    let kind = fields.needed("kind", fields.text("kind")?)?;
    let kind: StageKind = read_kind(kind).map_err(|_| {
        let what = format!("is {kind:?}; it is map, filter, window or accumulate");
        fields.wrong("kind", &what)
    })?;
    let count = fields.number("count", 1..=u16::MAX.into())?;
    if count.is_some_and(|count| count != 1) && !kind.gathers() {
        let what = format!(
            "is for a window or an accumulation; a {} takes one item at a time",
            kind.name()
        );
        return Err(fields.wrong("count", &what));
    }
    let count = match kind.gathers() {
        true => fields.needed("count", count)?,
        false => 1,
    };
    Ok(StagePlan {
        kind,
        count: count as u16,
        tasklet: fields.needed("tasklet", fields.parsed("tasklet")?)?,
    })
}

/// The number of the line that says a field, such as `room`, `feed.every_ms` or `operators[1].count`, and the line;
/// of a field that is missing, that of the head of its table, if it has one.
fn line_of<'t>(text: &'t str, field: &str) -> Option<(usize, &'t str)> {
    let (table, key) = field.rsplit_once('.').unwrap_or(("", field));
    let (head, nth) = match table.split_once('[') {
        Some((name, at)) => (
            format!("[[{name}]]"),
            at.trim_end_matches(']').parse().ok()?,
        ),
        None => (format!("[{table}]"), 0),
    };
    let lines = || (1..).zip(text.lines().map(str::trim));
    let is_head = |line: &str| line.starts_with('[');
    let mut heads = lines().filter(|(_, line)| line.starts_with(&head));
    let begin = if table.is_empty() {
        None
    } else {
        Some(heads.nth(nth)?)
    };
    let after = begin.map_or(0, |(number, _)| number);
    let mut own = lines().skip(after).take_while(|(_, line)| !is_head(line));
    let says = |line: &str| {
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    own.find(|(_, line)| says(line)).or(begin)
}

/// The fields of a table, and the path to it.
struct Fields<'t> {
    path: String,
    table: &'t Table,
}

impl<'t> Fields<'t> {
    fn new(path: impl Into<String>, table: &'t Table) -> Self {
        let path = path.into();
        Self { path, table }
    }

    fn wrong(&self, key: &str, what: &str) -> String {
        format!("{}{key} {what}", self.path)
    }

    /// Refuses fields that are not among these.
    fn only(&self, known: &[&str]) -> Result<(), String> {
        let unknown = self.table.keys().find(|key| !known.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| {
            let what = format!("is no field; there are {}", known.join(", "));
            Err(self.wrong(key, &what))
        })
    }

    fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn text(&self, key: &str) -> Result<Option<&'t str>, String> {
        let value = self.table.get(key);
        let text = value.map(|value| value.as_str().ok_or_else(|| self.wrong(key, "is a text")));
        text.transpose()
    }

    fn parsed<T: core::str::FromStr<Err: core::fmt::Display>>(
        &self,
        key: &str,
    ) -> Result<Option<T>, String> {
        let text = self.text(key)?;
        text.map(|text| self.parse(key, text)).transpose()
    }

    fn parse<T: core::str::FromStr<Err: core::fmt::Display>>(
        &self,
        key: &str,
        text: &str,
    ) -> Result<T, String> {
        let parsed = text.parse();
        parsed.map_err(|error| self.wrong(key, &format!("is {text:?}: {error}")))
    }

    fn number(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, String> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let number = value.as_integer().filter(|number| range.contains(number));
        let wrong = || {
            let what = format!(
                "is {value}; it is a number, {} to {}",
                range.start(),
                range.end()
            );
            self.wrong(key, &what)
        };
        number.map(Some).ok_or_else(wrong)
    }

    fn bool(&self, key: &str) -> Result<bool, String> {
        let value = self.table.get(key).map_or(Some(false), Value::as_bool);
        value.ok_or_else(|| self.wrong(key, "is true or false"))
    }

    fn list(&self, key: &str) -> Result<Vec<Address>, String> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let texts = value
            .as_array()
            .map(|values| values.iter().map(Value::as_str));
        let texts: Option<Vec<&str>> = texts.and_then(Iterator::collect);
        let texts = texts.ok_or_else(|| self.wrong(key, "is a list of addresses, host:port"))?;
        texts.iter().map(|text| self.parse(key, text)).collect()
    }

    fn table(&self, key: &str) -> Result<Option<Self>, String> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let table = value
            .as_table()
            .ok_or_else(|| self.wrong(key, "is a table"))?;
        Ok(Some(Self::new(format!("{}{key}.", self.path), table)))
    }

    fn tables(&self, key: &str) -> Result<Vec<Self>, String> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let tables = value
            .as_array()
            .map(|values| values.iter().map(Value::as_table));
        let tables: Option<Vec<&Table>> = tables.and_then(Iterator::collect);
        let tables =
            tables.ok_or_else(|| self.wrong(key, "is a list of tables, [[operators]] each"))?;
        let numbered = tables.into_iter().enumerate();
        let fields = numbered.map(|(at, table)| Self::new(format!("{key}[{at}]."), table));
        Ok(fields.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"vibration\"\nsink = \"a:1\"\nsources = [\"b:2\", \"c\"]\n";

    #[test]
    fn a_flow_has_its_nodes_its_feed_and_its_operators() {
        let text = format!(
            "{HEAD}nodes = [\"d\"]\nroom = 32\nat_sink = true\n\
             [feed]\ntasklet = \"shop/vibration\"\nevery_ms = 250\n\
             [[operators]]\nkind = \"filter\"\ntasklet = \"shop/odd\"\n\
             [[operators]]\nkind = \"window\"\ncount = 16\ntasklet = \"std/rms\"\n"
        );
        let file = FlowFile::parse(&text).unwrap();
        let all: Vec<_> = file.all().map(Address::to_string).collect();
        assert_eq!(all, ["a:1", "b:2", "c:5683", "d:5683"]);
        let plan = file.plan(NodeId(7));
        assert_eq!((plan.sink, plan.room, plan.at_sink), (NodeId(7), 32, true));
        let (period, tasklet) = (
            Duration::from_millis(250),
            "shop/vibration".parse().unwrap(),
        );
        assert_eq!(plan.feed, Feed::Every { period, tasklet });
        let operators = plan.operators.iter().map(|it| (it.kind, it.count));
        let operators: Vec<_> = operators.collect();
        assert_eq!(operators, [(StageKind::Filter, 1), (StageKind::Window, 16)]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field_and_what_it_may_be() {
        let five = "[[operators]]\nkind = \"map\"\ntasklet = \"a/b\"\n".repeat(5);
        let operator = |fields: &str| format!("{HEAD}[[operators]]\n{fields}");
        for (text, what) in [
            ("sink = \"a\"".to_owned(), "name is missing"),
            (HEAD.replace("\"vibration\"", "7"), "name is a text"),
            (
                HEAD.replace("a:1", "a:x"),
                "sink is \"a:x\": an address is host:port",
            ),
            (
                HEAD.replace("sources", "source"),
                "source is no field; there are name",
            ),
            (
                HEAD.replace("\"b:2\", \"c\"", ""),
                "sources is a list of 1 to 64 addresses",
            ),
            (
                HEAD.replace("b:2", "a:1"),
                "sources has the address of the sink",
            ),
            (
                HEAD.replace("\"c\"", "\"b:2\""),
                "sources has b:2 again; the file names each node once",
            ),
            (
                format!("{HEAD}nodes = [\"d\", \"a:1\"]"),
                "nodes has a:1 again; the file names each node once",
            ),
            (
                format!("{HEAD}room = 0"),
                "room is 0; it is a number, 1 to 1024",
            ),
            (format!("{HEAD}at_sink = 1"), "at_sink is true or false"),
            (
                format!("{HEAD}[feed]\nevery_ms = 0"),
                "feed.every_ms is 0; it is a number, 1 to 86400000",
            ),
            (
                format!("{HEAD}[feed]\nevery_ms = 5"),
                "feed.tasklet is missing",
            ),
            (
                format!("{HEAD}{five}"),
                "operators has 5 tables; a flow has 4 at most",
            ),
            (
                operator("kind = \"sum\""),
                "operators[0].kind is \"sum\"; it is map",
            ),
            (
                operator("kind = \"window\""),
                "operators[0].count is missing",
            ),
            (
                operator("kind = \"map\"\ncount = 2"),
                "operators[0].count is for a window or an accumulation; a map takes one item",
            ),
            (
                operator("kind = \"window\"\ncount = 40\ntasklet = \"a/b\""),
                "room is 64; the source keeps twice as many items at least as make one output, 80",
            ),
            (
                operator("kind = \"map\"\ntasklet = \"b\""),
                "operators[0].tasklet is \"b\": ",
            ),
        ] {
            let error = FlowFile::parse(&text).unwrap_err();
            assert!(error.starts_with(what), "{error} for\n{text}");
        }
        let text = operator("kind = \"map\"\n[[operators]]\nkind = \"window\"\n  count = 0\n");
        for (field, line) in [
            ("sink", Some((2, "sink = \"a:1\""))),
            ("operators[0].tasklet", Some((4, "[[operators]]"))),
            ("operators[1].kind", Some((7, "kind = \"window\""))),
            ("operators[1].count", Some((8, "count = 0"))),
            ("room", None),
            ("feed.tasklet", None),
            ("TOML", None),
        ] {
            assert_eq!(line_of(&text, field), line, "{field}");
        }
        let broken = FlowFile::parse("name = ").unwrap_err();
        assert!(broken.contains("line 1"), "{broken}");
    }
}
