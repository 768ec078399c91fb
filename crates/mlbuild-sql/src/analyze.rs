//! Parses a text and collects what it reads; refuses what is no pure query.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    Expr, Function, Ident, ObjectName, ObjectNamePart, Query as SqlQuery, Select, SetExpr, Spanned,
    Statement, TableFactor, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::canonical::canonical;
use crate::position::Positions;
use crate::{Param, Query, SqlError, TableRef};

/// Parses one query and says what it reads.
///
/// # Errors
/// All mistakes that can be told apart, in the order of the text: a syntax error (alone, since nothing is known
/// behind it), anything but one query, tables not written `kind.name`, positional parameters, functions whose result
/// changes from run to run.
///
/// ```
/// let query = mlbuild_sql::analyze("select * from data.events -- all of them\nwhere gap > $gap").unwrap();
/// assert_eq!(query.canonical, "SELECT * FROM data.events WHERE gap > $gap");
/// assert_eq!((&*query.tables[0].kind, &*query.tables[0].name), ("data", "events"));
/// assert_eq!(query.params[0].name, "gap");
/// ```
pub fn analyze(text: &str) -> Result<Query, Vec<SqlError>> {
    match read(text) {
        (Some(query), errors) if errors.is_empty() => Ok(query),
        (_, errors) => Err(errors),
    }
}

/// As [`analyze`], with what a query reads also when it has mistakes other than of syntax, so that more of them can be
/// found at once. Without errors, there is a query.
pub fn read(text: &str) -> (Option<Query>, Vec<SqlError>) {
    let positions = Positions::new(text);
    let tokens = match tokenize(text, &positions) {
        Ok(tokens) => tokens,
        Err(error) => return (None, vec![error]),
    };
    // Parsing, walking and dropping a syntax tree recurse, and a chain like `a or b or ...` is as deep as it is long. So
    // they get a stack by the number of tokens, whatever is left of the caller's; only pages touched are paid for.
    let stack_bytes = STACK_BASE_BYTES + STACK_TOKEN_BYTES * tokens.len();
    let joined = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(stack_bytes.min(STACK_MAX_BYTES))
            .spawn_scoped(scope, || read_tokens(&tokens, &positions))
            .map(std::thread::ScopedJoinHandle::join)
    });
    match joined {
        Ok(Ok(read)) => read,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => {
            let message = format!("the query cannot be parsed: {error}");
            let range = 0..positions.end();
            let error = SqlError::new("sql::no-memory", message, range, "needs a stack of its own");
            (None, vec![error])
        }
    }
}

const STACK_BASE_BYTES: usize = 16 << 20;
const STACK_TOKEN_BYTES: usize = 8 << 10;
const STACK_MAX_BYTES: usize = 4 << 30;
/// Beyond this many tokens, [`STACK_MAX_BYTES`] may not do.
const MAX_TOKENS: usize = (STACK_MAX_BYTES - STACK_BASE_BYTES) / STACK_TOKEN_BYTES;

fn read_tokens(
    tokens: &[TokenWithSpan],
    positions: &Positions<'_>,
) -> (Option<Query>, Vec<SqlError>) {
    let statement = match parse_one(tokens, positions) {
        Ok(statement) => statement,
        Err(error) => return (None, vec![error]),
    };
    let mut reader = Reader {
        positions,
        scopes: Vec::new(),
        calls: Vec::new(),
        tables: BTreeMap::new(),
        params: BTreeMap::new(),
        errors: Vec::new(),
    };
    let _ = statement.visit(&mut reader);
    let Reader {
        tables,
        params,
        mut errors,
        ..
    } = reader;
    errors.sort_by_key(|error| error.range.start);
    errors.dedup();
    let tables = tables.into_iter();
    let params = params.into_iter();
    let query = Query {
        canonical: canonical(&statement, tokens, positions),
        tables: tables
            .map(|((kind, name), range)| TableRef { kind, name, range })
            .collect(),
        params: params.map(|(name, range)| Param { name, range }).collect(),
    };
    (Some(query), errors)
}

fn tokenize(text: &str, positions: &Positions<'_>) -> Result<Vec<TokenWithSpan>, SqlError> {
    Tokenizer::new(&GenericDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| {
            let start = positions.byte(error.location).min(positions.end());
            let message = lower_first(&error.message);
            SqlError::new("sql::syntax", message, start..positions.end(), "from here")
        })
}

/// The one statement, which is a query.
fn parse_one(tokens: &[TokenWithSpan], positions: &Positions<'_>) -> Result<Statement, SqlError> {
    if tokens.len() > MAX_TOKENS {
        let message = format!(
            "a query has at most {MAX_TOKENS} words, and this has {}",
            tokens.len()
        );
        let error = SqlError::new("sql::too-long", message, 0..positions.end(), "too long");
        return Err(
            error.help("put literal rows into a file, and read it as a target of rule `path`")
        );
    }
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens.to_vec());
    while parser.consume_token(&Token::SemiColon) {}
    let first = parser.peek_token();
    if first.token == Token::EOF {
        return Err(SqlError::new(
            "sql::empty",
            "there is no query",
            0..positions.end(),
            "empty",
        )
        .help("write one `select` statement"));
    }
    let range = positions.range(first.span);
    let statement = parser
        .parse_statement()
        .map_err(|error| syntax_error(&error, tokens, positions))?;
    if !matches!(statement, Statement::Query(_)) {
        return Err(not_a_query(range));
    }
    let mut ended = false;
    while parser.consume_token(&Token::SemiColon) {
        ended = true;
    }
    let rest = parser.peek_token();
    match (rest.token, ended) {
        (Token::EOF, _) => Ok(statement),
        (_, true) => Err(SqlError::new(
            "sql::two-statements",
            "a target is one query, and here is another statement",
            positions.range(rest.span),
            "the second statement begins here",
        )
        .help("give each query a file of its own, or put the first one into a `with` clause")),
        (found, false) => Err(SqlError::new(
            "sql::syntax",
            format!("expected the end of the query, found `{found}`"),
            positions.range(rest.span),
            "here",
        )),
    }
}

fn not_a_query(range: Range<usize>) -> SqlError {
    SqlError::new(
        "sql::not-a-query",
        "this statement is not a query",
        range,
        "only `select`, `with` and `values` make a table",
    )
    .help("a query says what the table holds; the build creates and replaces it")
}

/// sqlparser says where only in words: `... at Line: 1, Column: 8`.
fn syntax_error(
    error: &ParserError,
    tokens: &[TokenWithSpan],
    positions: &Positions<'_>,
) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => &**message,
        ParserError::RecursionLimitExceeded => "the query is nested too deeply",
    };
    let (message, location) = split_location(message);
    let range = match location {
        None => positions.end()..positions.end(),
        Some(location) => tokens
            .iter()
            .find(|token| token.span.start == location)
            .map_or_else(
                || positions.byte(location)..positions.byte(location),
                |token| positions.range(token.span),
            ),
    };
    let message = message.replacen("Expected: ", "expected ", 1);
    let message = match message.rsplit_once(", found: ") {
        Some((expected, "EOF")) => format!("{expected}, found the end of the query"),
        Some((expected, found)) => format!("{expected}, found `{found}`"),
        None => message,
    };
    SqlError::new("sql::syntax", lower_first(&message), range, "here")
}

fn split_location(message: &str) -> (&str, Option<Location>) {
    let parse = || {
        let (message, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let column = column.trim_end_matches(|c: char| !c.is_ascii_digit());
        Some((
            message,
            Location::new(line.parse().ok()?, column.parse().ok()?),
        ))
    };
    parse().map_or((message, None), |(message, location)| {
        (message, Some(location))
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An acronym or a keyword stays as it is.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Functions whose result depends on when or how often they are called. DataFusion calls them volatile or stable.
const NONDETERMINISTIC: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "file_row_index",
    "gen_random_uuid",
    "getdate",
    "input_file_name",
    "localtime",
    "localtimestamp",
    "now",
    "rand",
    "random",
    "sysdate",
    "today",
    "uuid",
];

/// The common table expressions of one query.
#[derive(Default)]
struct Scope {
    /// Each with its query, known by address, and whether it is visible yet: from its end, or at once if recursive.
    ctes: Vec<Cte>,
}

struct Cte {
    name: String,
    query: *const SqlQuery,
    visible: bool,
}

/// Walks a query in the order of its text.
struct Reader<'a> {
    positions: &'a Positions<'a>,
    /// The queries around the current place, outermost first.
    scopes: Vec<Scope>,
    /// Names in `from` that are calls of table functions, known by address.
    calls: Vec<*const ObjectName>,
    tables: BTreeMap<(String, String), Range<usize>>,
    params: BTreeMap<String, Range<usize>>,
    errors: Vec<SqlError>,
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<()> {
        let mut scope = Scope::default();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = normal(&cte.alias.name);
                if name.contains('.') {
                    self.errors.push(
                        SqlError::new(
                            "sql::bad-name",
                            format!("a common table expression cannot be named `{name}`"),
                            self.positions.range(cte.alias.name.span),
                            "could be taken for a target's table",
                        )
                        .help("choose a name without a point"),
                    );
                }
                scope.ctes.push(Cte {
                    name,
                    query: &*cte.query,
                    visible: with.recursive,
                });
            }
        }
        self.scopes.push(scope);
        self.look_at_body(&query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut() {
            for cte in &mut scope.ctes {
                cte.visible |= std::ptr::eq(cte.query, query);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(into) = &select.into {
            self.errors
                .push(not_a_query(self.positions.range(into.span())));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name, args, sample, ..
            } => {
                if args.is_some() {
                    self.calls.push(name);
                }
                if sample.is_some() {
                    self.sampled(name.span());
                }
            }
            TableFactor::Derived {
                sample: Some(_),
                subquery,
                ..
            } => self.sampled(subquery.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if self.calls.iter().any(|&call| std::ptr::eq(call, relation)) {
            return ControlFlow::Continue(());
        }
        let range = self.positions.range(relation.span());
        let parts: Option<Vec<_>> = relation.0.iter().map(ObjectNamePart::as_ident).collect();
        match parts.as_deref() {
            Some([kind, name]) => {
                self.tables
                    .entry((normal(kind), normal(name)))
                    .or_insert(range);
            }
            Some([name]) if self.is_cte(&normal(name)) => {}
            Some([name]) => {
                let name = normal(name);
                self.errors.push(
                    SqlError::new(
                        "sql::unknown-table",
                        format!("no table `{name}`"),
                        range,
                        "not a target, nor a common table expression in sight",
                    )
                    .help(format!(
                        "a target's table is written with its kind: `data.{name}`"
                    )),
                );
            }
            _ => self.errors.push(
                SqlError::new(
                    "sql::unknown-table",
                    format!("`{relation}` is not a table's name"),
                    range,
                    "has more than two parts",
                )
                .help("a target's table is written `kind.name`, as in `data.sessions`"),
            ),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.look_at_call(function);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        // The statement itself is a query, `parse_one` saw to that; this is about one inside it.
        if !matches!(statement, Statement::Query(_)) {
            self.errors
                .push(not_a_query(self.positions.range(statement.span())));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(written) = &value.value {
            let range = self.positions.range(value.span);
            match written.strip_prefix('$').filter(|name| is_param_name(name)) {
                Some(name) => {
                    self.params.entry(name.to_owned()).or_insert(range);
                }
                None => self.errors.push(
                    SqlError::new(
                        "sql::bad-parameter",
                        format!("`{written}` is not a parameter"),
                        range,
                        "parameters have names",
                    )
                    .help("write `$name`, and give the value in the manifest: `params = { name = 1 }`"),
                ),
            }
        }
        ControlFlow::Continue(())
    }
}

impl Reader<'_> {
    fn is_cte(&self, name: &str) -> bool {
        let mut ctes = self.scopes.iter().flat_map(|scope| &scope.ctes);
        ctes.any(|cte| cte.visible && cte.name == name)
    }

    fn look_at_body(&mut self, body: &SetExpr) {
        // `table x` names its table in a way that no visitor sees.
        match body {
            SetExpr::Table(_) => {
                let range = 0..self.positions.end();
                self.errors.push(
                    SqlError::new(
                        "sql::unsupported",
                        format!("`{body}` is not supported"),
                        range,
                        "in this query",
                    )
                    .help("write `select * from`"),
                );
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.look_at_body(left);
                self.look_at_body(right);
            }
            _ => {}
        }
    }

    fn look_at_call(&mut self, Function { name, .. }: &Function) {
        let Some(last) = name.0.last().and_then(ObjectNamePart::as_ident) else {
            return;
        };
        let called = last.value.to_ascii_lowercase();
        if NONDETERMINISTIC.contains(&&*called) {
            let parameter = match &*called {
                "current_date" | "today" => "today",
                "random" | "rand" => "seed",
                "uuid" | "gen_random_uuid" => "id",
                _ => "at",
            };
            self.errors.push(
                SqlError::new(
                    "sql::nondeterministic",
                    format!("`{called}` gives another result each time"),
                    self.positions.range(name.span()),
                    "would make the table depend on when it is built",
                )
                .help(format!(
                    "declare what it stands for as a parameter: `${parameter}` here, and \
                     `params = {{ {parameter} = ... }}` in the manifest"
                )),
            );
        }
    }

    fn sampled(&mut self, span: sqlparser::tokenizer::Span) {
        self.errors.push(
            SqlError::new(
                "sql::nondeterministic",
                "a sample gives other rows each time",
                self.positions.range(span),
                "sampled",
            )
            .help("keep rows by a digest of their key: `where md5(id) < '1'`"),
        );
    }
}

/// An identifier as DataFusion reads it: unquoted ones ignore case.
fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    }
}

fn is_param_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
