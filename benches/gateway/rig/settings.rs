//! The text of a gateway's settings.

use std::path::Path;

use crate::rig::authority::Issued;

/// The community of the initiating gateway.
pub(crate) const OURS: &str = "1.3.6.1.4.1.99999.1";
/// The community of the responding gateway, and of one that is alone.
pub(crate) const THEIRS: &str = "1.3.6.1.4.1.99999.2";
/// A location of [`THEIRS`].
pub(crate) const LOCATION: &str = "1.3.6.1.4.1.99999.2.10";

/// A `config.toml`, written table by table.
pub(crate) struct Settings(String);

impl Settings {
    /// Of a gateway of this community, on ports that nobody else has, that keeps nothing.
    pub(crate) fn of(community: &str) -> Self {
        Self::keeping(
            community,
            "",
            "memory = \"0\"\ndisk = \"0\"\nlook_ahead = \"off\"",
        )
    }

    /// The same with these settings of its listener and of its cache.
    pub(crate) fn keeping(community: &str, listen: &str, cache: &str) -> Self {
        Self(format!(
            "home_community_id = \"{community}\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             operator_address = \"127.0.0.1:0\"\nconnections_per_client = 0\n{listen}\
             [retrieve]\nstreams_per_client = 0\n[cache]\n{cache}\n"
        ))
    }

    /// Of a gateway that has to do with nobody else.
    pub(crate) fn alone() -> Self {
        Self::of(THEIRS)
    }

    /// The same with this line more in `[retrieve]`.
    pub(crate) fn retrieve(self, line: &str) -> Self {
        Self(
            self.0
                .replace("[retrieve]\n", &format!("[retrieve]\n{line}\n")),
        )
    }

    /// A location that is the server with this DICOMweb root.
    pub(crate) fn location(self, retrieve_location_uid: &str, root: &str) -> Self {
        self.line("[[location]]")
            .text("alias", &format!("of-{retrieve_location_uid}"))
            .text("retrieve_location_uid", retrieve_location_uid)
            .text("wado_rs_url", root)
    }

    /// Of a location: everything but instances is derived.
    pub(crate) fn instances_only(self) -> Self {
        self.line("offers = [\"instances\"]")
    }

    /// Another community.
    pub(crate) fn community(self, home_community_id: &str) -> Self {
        self.line("[[community]]")
            .text("alias", &format!("of-{home_community_id}"))
            .text("home_community_id", home_community_id)
    }

    /// The listener for partners, who must show a certificate of this authority.
    pub(crate) fn gateway_listen(self, shown: &Issued, authority: &Path) -> Self {
        self.line("[gateway_listen]")
            .text("address", "127.0.0.1:0")
            .identity(shown)
            .path("client_authorities", authority)
    }

    /// Our certificate, in the present table.
    pub(crate) fn identity(self, shown: &Issued) -> Self {
        self.path("certificate", &shown.certificate)
            .path("private_key", &shown.private_key)
    }

    pub(crate) fn path(self, key: &str, path: &Path) -> Self {
        self.text(key, path.to_str().expect("text"))
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.line(&format!("{key} = \"{value}\""))
    }

    pub(crate) fn number(self, key: &str, value: usize) -> Self {
        self.line(&format!("{key} = {value}"))
    }

    /// The head of a table, or anything else.
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
