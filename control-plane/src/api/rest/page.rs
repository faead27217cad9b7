//! Pages of lists.

use utoipa::IntoParams;

use super::fields::{Fields, Readable};
use crate::app::PageRequest;

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `Page`")]
pub(super) struct PageQuery {
    /// Items on a page; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A [`PageQuery`] as it was given.
pub(super) struct Page(pub PageRequest);

impl Readable for Page {
    fn read(fields: &mut Fields) -> Self {
        let size: u32 = fields.number("page_size");
        if size > PageRequest::MAX {
            fields.problem("page_size", "out_of_range", "a page has at most 200 items");
        }
        let token = fields.text("page_token");
        Self(PageRequest {
            size,
            token: (!token.is_empty()).then_some(token),
        })
    }
}
