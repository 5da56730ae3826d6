//! Which part of a list is asked for: `GET manifests?limit=…&before=…`.

use super::Error;
use super::query::pairs;

/// A page of a list that is ordered from its newest entry to its oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Most entries that are wanted, [`MOST_LISTED`] at most.
    pub limit: usize,
    /// Only those that are older than the one with this number.
    pub before: Option<u64>,
}

/// Entries of a page unless told otherwise.
const LISTED: usize = 1000;
/// Most entries of one page.
pub const MOST_LISTED: usize = 10_000;

/// Reads which page of a list is asked for. Other parameters are passed over.
///
/// # Errors
/// [`Error::Query`].
pub fn page(query: Option<&str>) -> Result<Page, Error> {
    let mut page = Page {
        limit: LISTED,
        before: None,
    };
    for (name, value) in pairs(query.unwrap_or_default()) {
        match name.to_ascii_lowercase().as_str() {
            "limit" => {
                let limit = number(&value).ok_or(Error::Query("limit"))?;
                page.limit = usize::try_from(limit)
                    .unwrap_or(usize::MAX)
                    .min(MOST_LISTED);
            }
            "before" => page.before = Some(number(&value).ok_or(Error::Query("before"))?),
            _ => {}
        }
    }
    Ok(page)
}

/// More than fits is as much as there is.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_limit_whatever_is_asked() {
        let read = |query| page(query).map(|page| (page.limit, page.before));
        assert_eq!(read(None), Ok((LISTED, None)));
        assert_eq!(read(Some("limit=2&BEFORE=17&x=y")), Ok((2, Some(17))));
        assert_eq!(
            read(Some("limit=99999999999999999999")),
            Ok((MOST_LISTED, None))
        );
        for query in [
            "limit=",
            "limit=-1",
            "limit=x",
            "before=",
            "before=+1",
            "before=1.5",
        ] {
            assert!(matches!(read(Some(query)), Err(Error::Query(_))), "{query}");
        }
    }
}
