//! The canonical form of a query.
//!
//! sqlparser renders a parsed statement back with its own white space and keyword case and without comments. Rendering
//! is only as good as each of its many `Display` implementations, so it is believed only if what it yields parses to the
//! same statement again. Otherwise the tokens are the canonical form: sound too, if a little less forgiving.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectNamePart, Statement, VisitMut, VisitorMut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Renders `statement`, which was parsed from `tokens`.
pub(crate) fn canonical(statement: &Statement, tokens: &[TokenWithSpan]) -> String {
    let mut statement = statement.clone();
    let _ = VisitMut::visit(&mut statement, &mut LowerFunctionNames);
    let rendered = statement.to_string();
    match Parser::parse_sql(&GenericDialect {}, &rendered) {
        Ok(again) if again == [statement] => rendered,
        _ => render_tokens(tokens),
    }
}

/// The tokens as written, one space between two of them, comments left out.
fn render_tokens(tokens: &[TokenWithSpan]) -> String {
    let words: Vec<_> = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
        .map(|token| token.token.to_string())
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
