//! The canonical form of a query.
//!
//! sqlparser renders a parsed statement back with its own white space and keyword case and without comments. Rendering
//! is only as good as each of its many `Display` implementations, so it is believed only if what it yields parses to the
//! same statement again. Otherwise the tokens are the canonical form: sound too, if a little less forgiving. They are
//! rendered as well, and if that does not parse again either, they stand as they were written.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectNamePart, Statement, VisitMut, VisitorMut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::position::Positions;

/// Renders `statement`, which was parsed from `tokens`.
pub(crate) fn canonical(
    statement: &Statement,
    tokens: &[TokenWithSpan],
    positions: &Positions<'_>,
) -> String {
    let mut lowered = statement.clone();
    let _ = VisitMut::visit(&mut lowered, &mut LowerFunctionNames);
    let rendered = lowered.to_string();
    if parses_to(&rendered, &lowered) {
        return rendered;
    }
    let rendered = join(tokens, |token| token.token.to_string());
    if parses_to(&rendered, statement) {
        return rendered;
    }
    join(tokens, |token| positions.written(token.span).to_owned())
}

fn parses_to(text: &str, statement: &Statement) -> bool {
    let parsed = Parser::parse_sql(&GenericDialect {}, text);
    parsed.is_ok_and(|again| again == [statement.clone()])
}

/// The tokens, one space between two of them, comments left out.
fn join(tokens: &[TokenWithSpan], render: impl Fn(&TokenWithSpan) -> String) -> String {
    let words: Vec<_> = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
        .map(render)
        .collect();
    words.join(" ").trim_end_matches([' ', ';']).to_owned()
}

/// `COUNT(*)` is `count(*)`: people take functions for keywords, and unquoted names ignore case.
struct LowerFunctionNames;

impl VisitorMut for LowerFunctionNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            for part in &mut function.name.0 {
                if let ObjectNamePart::Identifier(name) = part
                    && name.quote_style.is_none()
                {
                    name.value.make_ascii_lowercase();
                }
            }
        }
        ControlFlow::Continue(())
    }
}
