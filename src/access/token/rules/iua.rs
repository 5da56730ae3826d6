//! The claims of IHE IUA (ITI TF-2 3.71.4.1.2.2): in `extensions.ihe_iua`, or beside the others.

use serde_json::Value;

use super::super::json::Object;
use super::super::refused::Refused;
use super::text;
use crate::access::claims::Code;
use crate::ihe::HomeCommunityId;

/// The most values of one claim, and the most bytes of one.
const MOST: usize = 64;
const LONGEST: usize = 1024;

/// The places of IUA's claims in a token.
pub(super) struct Extension<'a> {
    claims: &'a Object,
    extension: Option<&'a Object>,
}

impl<'a> Extension<'a> {
    pub(super) fn read(claims: &'a Object) -> Result<Self, Refused> {
        let object = |value: &'a Value| value.as_object().ok_or(Refused::Claim);
        let extensions = claims.get("extensions").map(object).transpose()?;
        let extension = extensions.and_then(|extensions| extensions.get("ihe_iua"));
        Ok(Self {
            claims,
            extension: extension.map(object).transpose()?,
        })
    }

    /// A claim. If it is in both places, both must say the same.
    fn get(&self, name: &str) -> Result<Option<&'a Value>, Refused> {
        let inner = self.extension.and_then(|extension| extension.get(name));
        match (inner, self.claims.get(name)) {
            (Some(inner), Some(outer)) if inner != outer => Err(Refused::Claim),
            (inner, outer) => Ok(inner.or(outer)),
        }
    }

    /// The values of a claim that is one or a list of them.
    fn all(&self, name: &str) -> Result<&'a [Value], Refused> {
        match self.get(name)? {
            None => Ok(&[]),
            Some(Value::Array(all)) if all.len() <= MOST => Ok(all),
            Some(Value::Array(_)) => Err(Refused::Claim),
            Some(one) => Ok(std::slice::from_ref(one)),
        }
    }

    /// Codes: FHIR Codings, or text: `system|code` or a code alone.
    pub(super) fn codes(&self, name: &str) -> Result<Box<[Code]>, Refused> {
        self.all(name)?.iter().map(code).collect()
    }

    /// A claim that is a text, or a list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, Refused> {
        self.all(name)?.iter().map(short).collect()
    }

    pub(super) fn organisations(&self) -> Result<Box<[Box<str>]>, Refused> {
        let names = self.texts("subject_organization")?.into_iter();
        let ids = self.texts("subject_organization_id")?;
        Ok(names.chain(ids).map(Into::into).collect())
    }

    pub(super) fn home_community_id(&self) -> Result<Option<HomeCommunityId>, Refused> {
        match self.texts("home_community_id")?.as_slice() {
            [] => Ok(None),
            [one] => HomeCommunityId::parse(one)
                .map(Some)
                .map_err(|_no_oid| Refused::Claim),
            _ => Err(Refused::Claim),
        }
    }
}

fn code(value: &Value) -> Result<Code, Refused> {
    let (system, code) = match value.as_object() {
        Some(coding) => (text(coding, "system")?, text(coding, "code")?),
        None => {
            let text = short(value)?;
            match text.rsplit_once('|') {
                Some((system, code)) => (Some(system), Some(code)),
                None => (None, Some(text)),
            }
        }
    };
    let system = system.filter(|system| !system.is_empty());
    let code = code.filter(|code| !code.is_empty()).ok_or(Refused::Claim)?;
    Ok(Code {
        system: system.map(Into::into),
        code: code.into(),
    })
}

fn short(value: &Value) -> Result<&str, Refused> {
    let text = value.as_str().filter(|text| text.len() <= LONGEST);
    text.filter(|text| !text.trim().is_empty())
        .ok_or(Refused::Claim)
}
