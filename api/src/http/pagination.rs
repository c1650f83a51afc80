//! Lists that come in pages: the query's `limit` and `cursor`, and the cursor to the next page.

use std::collections::BTreeMap;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};

const USUAL: u64 = 50;
const MOST: u64 = 100;

/// What every list in pages is asked with.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many at the most
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub limit: Option<u64>,
    /// The `next_cursor` of the page before
    #[param(min_length = 1, max_length = 128)]
    pub cursor: Option<String>,
}

/// A query string as fields, for [`Fields::new`].
#[derive(Debug)]
pub struct PageQuery(pub Map<String, Value>);

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<BTreeMap<String, String>>, QueryRejection> =
            Query::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|_| Problem::new(Code::RequestMalformed))?;
        Ok(Self(query.into_iter().map(|(name, text)| (name, text.into())).collect()))
    }
}

/// How much of a list, and behind what, is asked for.
#[derive(Debug)]
pub struct Page<K> {
    pub limit: u64,
    pub after: Option<K>,
}

impl Fields {
    /// Takes `limit` (1 to 100; 50) and `cursor`, whose plain text `read` understands.
    pub fn page<K>(&mut self, read: impl FnOnce(&str) -> Option<K>) -> Page<K> {
        let limit = self.parsed("limit", "a number from 1 to 100", |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        });
        let after = self.parsed("cursor", "the `next_cursor` of a page", |text| {
            read(&String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?)
        });
        Page { limit: limit.unwrap_or(USUAL), after }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pages<T> {
    pub items: Vec<T>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T> Pages<T> {
    /// Of rows that were read with one more than `limit`: the last tells whether there is a next page.
    pub fn of<R>(
        rows: &[R],
        limit: u64,
        key: impl Fn(&R) -> String,
        show: impl Fn(&R) -> T,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let last = rows.get(limit).and_then(|_| rows.get(limit - 1));
        Self {
            items: rows.iter().take(limit).map(show).collect(),
            // Opaque to the caller, so that it may change.
            next_cursor: last.map(|row| URL_SAFE_NO_PAD.encode(key(row))),
        }
    }
}
