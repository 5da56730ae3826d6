//! The query of a registration: restrictions and the treatment of conflicts.

use super::Error;
use super::query::pairs;
use crate::dicom::SeriesInstanceUid;
use crate::ihe::HomeCommunityId;
use crate::manifest::{OnConflict, Registration, Submission};

/// Reads the query of a registration. Names are compared without case. An unknown name is refused:
/// a misspelt restriction must not become none.
///
/// # Errors
/// [`Error::Query`].
pub fn registration(query: Option<&str>) -> Result<Submission, Error> {
    let mut registration = Registration::default();
    let mut on_conflict = None;
    for (name, value) in pairs(query.unwrap_or_default()) {
        match name.to_ascii_lowercase().as_str() {
            "homecommunityid" if registration.home_community_id.is_none() => {
                let id = HomeCommunityId::parse(&value)
                    .map_err(|_not_an_oid| Error::Query("homeCommunityId"))?;
                registration.home_community_id = Some(id);
            }
            "homecommunityid" => return Err(Error::Query("homeCommunityId")),
            "series" => registration.series.extend(series_list(&value)?),
            "conflict" if on_conflict.is_none() && value == "keep_first" => {
                on_conflict = Some(OnConflict::KeepFirst);
            }
            "conflict" => return Err(Error::Query("conflict")),
            _ => return Err(Error::UnknownParameter),
        }
    }
    registration.series.sort();
    registration.series.dedup();
    Ok(Submission {
        registration,
        on_conflict: on_conflict.unwrap_or_default(),
    })
}

fn series_list(list: &str) -> Result<Vec<SeriesInstanceUid>, Error> {
    let uids = list
        .split(',')
        .map(|uid| SeriesInstanceUid::parse(uid.trim()));
    uids.collect::<Result<_, _>>()
        .map_err(|_not_a_uid| Error::Query("series"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restriction_that_cannot_be_read_is_refused() {
        let read = registration(Some(
            "HOMECOMMUNITYID=urn%3Aoid%3A1.2.3&series=1.5,1.4&series=1.4",
        ));
        let narrowed = read.expect("a restriction");
        assert_eq!(
            narrowed
                .registration
                .home_community_id
                .map(|id| id.to_string()),
            Some("1.2.3".into())
        );
        assert_eq!(narrowed.registration.series.len(), 2);
        for query in [
            "series=",
            "series=1.2,x",
            "serie=1.2",
            "homeCommunityId=x",
            "homeCommunityId=1.2&homeCommunityId=1.2",
        ] {
            assert!(registration(Some(query)).is_err(), "{query}");
        }
    }
}
