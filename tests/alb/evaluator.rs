//! ELBv2 listeners and rules as JSON and a request in, the actions that an Application Load Balancer would take out.
//!
//! Written from the documentation of Elastic Load Balancing alone, so that it can judge what we compile; it shares
//! nothing with the compiler or with the model's matchers. Sources, read 2026-11:
//!
//! * Guide: "Listener rules for your Application Load Balancer", "Condition types for listener rules".
//! * API: `RuleCondition` and the `…ConditionConfig` types it holds.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// What the load balancer sees of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) port: u64,
    /// Without a port.
    pub(crate) host: String,
    pub(crate) path: String,
    /// After the first `?`.
    pub(crate) query: String,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) source: IpAddr,
}

/// What the documentation leaves open about regular expressions. What we compile must not depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Whether an expression must match the whole value, or any part of it.
    pub(crate) whole: bool,
    /// Whether an expression for a host ignores case, as a host without expressions does.
    pub(crate) host_ignores_case: bool,
}

impl Reading {
    pub(crate) const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(whole: bool, host_ignores_case: bool) -> Self {
        Self {
            whole,
            host_ignores_case,
        }
    }
}

/// Who answers: the id of a rule, or none for the listener's default, and its actions in their order.
#[derive(Debug, PartialEq)]
pub(crate) struct Answered<'a> {
    pub(crate) rule: Option<&'a str>,
    pub(crate) actions: &'a [Value],
}

#[derive(Debug)]
struct Rule {
    id: String,
    conditions: Vec<Condition>,
    actions: Vec<Value>,
}

#[derive(Debug)]
struct Listener {
    default: Vec<Value>,
    /// By priority.
    rules: BTreeMap<u64, Rule>,
}

/// The listeners of one load balancer, by port.
#[derive(Debug)]
pub(crate) struct Alb(BTreeMap<u64, Listener>);

impl Alb {
    /// Reads the resources of a load balancer as `portcullis plan -o json` shows them; other kinds are passed over.
    /// A rule belongs to the listener whose id stands before the colon of its own.
    pub(crate) fn read(resources: &[Value]) -> Result<Self, String> {
        let mut ids = BTreeMap::new();
        let mut listeners = BTreeMap::new();
        for resource in resources.iter().filter(|r| r["kind"] == "Listener") {
            let spec = &resource["spec"];
            let port = spec["Port"]
                .as_u64()
                .ok_or_else(|| format!("{resource}: no Port"))?;
            ids.insert(text(&resource["id"])?, port);
            let listener = Listener {
                default: list(&spec["DefaultActions"])?.clone(),
                rules: BTreeMap::new(),
            };
            if listeners.insert(port, listener).is_some() {
                return Err(format!("two listeners at port {port}"));
            }
        }
        for resource in resources.iter().filter(|r| r["kind"] == "ListenerRule") {
            let (id, spec) = (text(&resource["id"])?, &resource["spec"]);
            let owner = id.split(':').next().unwrap_or_default();
            let port = ids
                .get(owner)
                .ok_or_else(|| format!("{id}: no listener {owner}"))?;
            let priority = spec["Priority"]
                .as_u64()
                .ok_or_else(|| format!("{id}: no Priority"))?;
            let rule = Rule {
                id: id.to_owned(),
                conditions: list(&spec["Conditions"])?
                    .iter()
                    .map(Condition::read)
                    .collect::<Result<_, _>>()
                    .map_err(|why| format!("{id}: {why}"))?,
                actions: list(&spec["Actions"])?.clone(),
            };
            let rules = &mut listeners.get_mut(port).expect("ids names listeners").rules;
            if rules.insert(priority, rule).is_some() {
                return Err(format!("{id}: priority {priority} is taken"));
            }
        }
        Ok(Self(listeners))
    }

    /// Rules are tried from the lowest priority number to the highest; the first whose conditions all hold answers,
    /// else the default rule. None where nobody listens. Source: Guide, "Listener rules", "Rule basics".
    pub(crate) fn answer(&self, asked: &Asked, reading: Reading) -> Option<Answered<'_>> {
        let listener = self.0.get(&asked.port)?;
        let taken = listener
            .rules
            .values()
            .find(|rule| rule.conditions.iter().all(|c| c.holds(asked, reading)));
        Some(taken.map_or(
            Answered {
                rule: None,
                actions: &listener.default,
            },
            |rule| Answered {
                rule: Some(&rule.id),
                actions: &rule.actions,
            },
        ))
    }
}

/// One condition; it holds if any of its values matches. Source: Guide, "Condition types", "Condition basics".
#[derive(Debug)]
enum Condition {
    Host(Values),
    Path(Values),
    Header { name: String, values: Values },
    Method(Vec<String>),
    Query(Vec<(Option<String>, String)>),
    Source(Vec<(IpAddr, u32)>),
}

/// `Values` are patterns, `RegexValues` expressions; a condition has one or the other.
#[derive(Debug)]
enum Values {
    Patterns(Vec<String>),
    Expressions(Vec<Rc<Expression>>),
}

/// One regular expression under every reading.
#[derive(Debug)]
struct Expression {
    anywhere: Regex,
    anywhere_ignoring_case: Regex,
    whole: Regex,
    whole_ignoring_case: Regex,
}

thread_local! {
    /// Those read so far: a property reads the same few over and over.
    static READ: RefCell<HashMap<String, Rc<Expression>>> = RefCell::default();
}

impl Expression {
    fn read(text: &str) -> Result<Rc<Self>, String> {
        if let Some(read) = READ.with_borrow(|read| read.get(text).cloned()) {
            return Ok(read);
        }
        let expression = Rc::new(Self::build(text)?);
        READ.with_borrow_mut(|read| read.insert(text.to_owned(), expression.clone()));
        Ok(expression)
    }

    fn build(text: &str) -> Result<Self, String> {
        let build = |text: &str, ignore_case| {
            let built = RegexBuilder::new(text).case_insensitive(ignore_case).build();
            built.map_err(|error| error.to_string())
        };
        let whole = format!(r"\A(?:{text})\z");
        Ok(Self {
            anywhere: build(text, false)?,
            anywhere_ignoring_case: build(text, true)?,
            whole: build(&whole, false)?,
            whole_ignoring_case: build(&whole, true)?,
        })
    }

    fn matches(&self, value: &str, whole: bool, ignore_case: bool) -> bool {
        let regex = match (whole, ignore_case) {
            (false, false) => &self.anywhere,
            (false, true) => &self.anywhere_ignoring_case,
            (true, false) => &self.whole,
            (true, true) => &self.whole_ignoring_case,
        };
        regex.is_match(value)
    }
}

impl Condition {
    fn read(json: &Value) -> Result<Self, String> {
        let field = text(&json["Field"])?;
        let key = match field {
            "host-header" => "HostHeaderConfig",
            "path-pattern" => "PathPatternConfig",
            "http-header" => "HttpHeaderConfig",
            "http-request-method" => "HttpRequestMethodConfig",
            "query-string" => "QueryStringConfig",
            "source-ip" => "SourceIpConfig",
            other => return Err(format!("no condition has the field {other:?}")),
        };
        only(json, &["Field", key])?;
        let config = &json[key];
        Ok(match field {
            "host-header" => Self::Host(Values::read(config, &[])?),
            "path-pattern" => Self::Path(Values::read(config, &[])?),
            "http-header" => Self::Header {
                name: text(&config["HttpHeaderName"])?.to_owned(),
                values: Values::read(config, &["HttpHeaderName"])?,
            },
            "http-request-method" => Self::Method(texts(config)?),
            "query-string" => {
                only(config, &["Values"])?;
                let pairs = some(&config["Values"])?.iter().map(|pair| {
                    only(pair, &["Key", "Value"])?;
                    let key = (!pair["Key"].is_null()).then(|| text(&pair["Key"]));
                    Ok((
                        key.transpose()?.map(str::to_owned),
                        text(&pair["Value"])?.to_owned(),
                    ))
                });
                Self::Query(pairs.collect::<Result<_, String>>()?)
            }
            _ => Self::Source(
                texts(config)?
                    .iter()
                    .map(|range| cidr(range))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn holds(&self, asked: &Asked, reading: Reading) -> bool {
        match self {
            // "The comparison is case insensitive." API, HostHeaderConditionConfig.
            Self::Host(values) => values.any(&asked.host, true, reading.host_ignores_case, reading),
            // "The comparison is case sensitive." API, PathPatternConditionConfig.
            Self::Path(values) => values.any(&asked.path, false, false, reading),
            // The name and the comparison strings ignore case; a header that appears several times is searched
            // until a value matches. API, HttpHeaderConditionConfig.
            Self::Header { name, values } => asked
                .headers
                .iter()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .any(|(_, value)| values.any(value, true, false, reading)),
            // "The comparison is case sensitive. Wildcards are not supported." API, HttpRequestMethodConditionConfig.
            Self::Method(methods) => methods.contains(&asked.method),
            // Pairs are separated by `&`; the comparison ignores case; a backslash makes `*` and `?` literal; the
            // key may be left out. API, QueryStringConditionConfig, QueryStringKeyValuePair.
            Self::Query(pairs) => asked
                .query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .any(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    pairs.iter().any(|(k, v)| {
                        k.as_ref().is_none_or(|k| wildcard(k, key, true, true))
                            && wildcard(v, value, true, true)
                    })
                }),
            // API, SourceIpConditionConfig: the peer's address, never that of `X-Forwarded-For`.
            Self::Source(ranges) => ranges
                .iter()
                .any(|(network, bits)| inside(*network, *bits, asked.source)),
        }
    }
}

impl Values {
    fn read(config: &Value, besides: &[&str]) -> Result<Self, String> {
        only(config, &[&["Values", "RegexValues"], besides].concat())?;
        match (config.get("Values"), config.get("RegexValues")) {
            (Some(values), None) => Ok(Self::Patterns(strings(values)?)),
            (None, Some(values)) => {
                let values = strings(values)?;
                let read: Result<_, String> = values.iter().map(|v| Expression::read(v)).collect();
                Ok(Self::Expressions(read?))
            }
            _ => Err(format!("{config}: neither or both of Values and RegexValues")),
        }
    }

    fn any(&self, value: &str, ignore_case: bool, expression_ignores_case: bool, reading: Reading) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.iter().any(|p| wildcard(p, value, ignore_case, false)),
            Self::Expressions(expressions) => expressions
                .iter()
                .any(|e| e.matches(value, reading.whole, expression_ignores_case)),
        }
    }
}

/// `*` matches 0 or more characters and `?` exactly 1, whichever they are; the whole value is compared.
/// Source: Guide, "Condition types", "Host conditions" and "Path conditions".
pub(crate) fn wildcard(pattern: &str, value: &str, ignore_case: bool, escapes: bool) -> bool {
    #[derive(PartialEq)]
    enum Token {
        Any,
        One,
        This(char),
    }
    let fold = |c: char| if ignore_case { c.to_ascii_lowercase() } else { c };
    let mut tokens = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        tokens.push(match (c, characters.peek()) {
            ('\\', Some(&next @ ('*' | '?'))) if escapes => {
                characters.next();
                Token::This(next)
            }
            ('*', _) => Token::Any,
            ('?', _) => Token::One,
            _ => Token::This(fold(c)),
        });
    }
    // The lengths of value that the tokens so far can have taken.
    let value: Vec<char> = value.chars().map(fold).collect();
    let mut taken = BTreeSet::from([0]);
    for token in tokens {
        taken = match token {
            Token::Any => taken
                .first()
                .map(|first| (*first..=value.len()).collect())
                .unwrap_or_default(),
            one @ (Token::One | Token::This(_)) => taken
                .into_iter()
                .filter(|at| {
                    value
                        .get(*at)
                        .is_some_and(|c| one == Token::One || one == Token::This(*c))
                })
                .map(|at| at + 1)
                .collect(),
        };
    }
    taken.contains(&value.len())
}

fn cidr(range: &str) -> Result<(IpAddr, u32), String> {
    let wrong = || format!("{range:?} is no range of addresses");
    let (network, bits) = range.split_once('/').ok_or_else(wrong)?;
    let network: IpAddr = network.parse().map_err(|_| wrong())?;
    let bits: u32 = bits.parse().map_err(|_| wrong())?;
    let most = if network.is_ipv4() { 32 } else { 128 };
    if bits > most {
        return Err(wrong());
    }
    Ok((network, bits))
}

fn inside(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    let left_aligned = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    network.is_ipv4() == address.is_ipv4() && left_aligned(network) & mask == left_aligned(address) & mask
}

fn only(json: &Value, keys: &[&str]) -> Result<(), String> {
    let object = json.as_object().ok_or_else(|| format!("{json} is no object"))?;
    match object.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(key) => Err(format!("{json}: {key} does not belong there")),
        None => Ok(()),
    }
}

fn text(json: &Value) -> Result<&str, String> {
    json.as_str().ok_or_else(|| format!("{json} is no text"))
}

fn list(json: &Value) -> Result<&Vec<Value>, String> {
    json.as_array().ok_or_else(|| format!("{json} is no list"))
}

/// "Note that the value for a condition can't be empty." API, RuleCondition.
fn some(json: &Value) -> Result<&Vec<Value>, String> {
    match list(json)? {
        empty if empty.is_empty() => Err("a condition without values".to_owned()),
        values => Ok(values),
    }
}

fn strings(json: &Value) -> Result<Vec<String>, String> {
    some(json)?.iter().map(|v| text(v).map(str::to_owned)).collect()
}

fn texts(config: &Value) -> Result<Vec<String>, String> {
    only(config, &["Values"])?;
    strings(&config["Values"])
}
