//! Capabilities by name: `privileged`, `cap-add:NET_ADMIN`, `bind:/srv/media`; and the patterns by which a grant
//! names them.
//!
//! A name has one spelling, whatever was written in a Compose file or in a grant: both go through [`Capability::new`]
//! or [`CapabilityPattern`], so that they meet.

use std::fmt;
use std::sync::Arc;

use super::super::short::range;
use super::host_path;

/// A kind of capability.
#[derive(Debug)]
pub struct Kind {
    /// Its word: all of the name, or what stands in front of the `:`.
    pub word: &'static str,
    /// What stands behind the `:`, if something does: `PATH`.
    pub of: Option<&'static str>,
    /// What it lets a service do, in a few words.
    pub means: &'static str,
}

const fn plain(word: &'static str, means: &'static str) -> Kind {
    Kind { word, of: None, means }
}

const fn of(word: &'static str, of: &'static str, means: &'static str) -> Kind {
    Kind { word, of: Some(of), means }
}

/// Every capability that there is, by word.
pub const KINDS: &[Kind] = &[
    of("annotation", "KEY", "tells the container runtime of the host something that Docker itself does not"),
    of("bind", "PATH", "sees or changes files of the host"),
    of("cap-add", "X", "gets a capability of Linux that containers do not have"),
    plain("cgroup-parent", "chooses the control group that limits it"),
    plain("container-name", "takes a name that only one container of the host can have"),
    plain("credential-spec", "reads credentials of the host"),
    of("device", "PATH", "uses a device of the host"),
    plain("docker-socket", "talks to the container engine of the host, which makes it root there"),
    of("external-config", "N", "uses a config that is not its own"),
    of("external-network", "N", "joins a network that is not its own, and reaches what is there"),
    of("external-secret", "N", "uses a secret that is not its own"),
    of("external-volume", "N", "uses a volume that is not its own"),
    of("field", "NAME", "uses a field of Compose that this program does not know, and that may do anything"),
    of("foreign-container", "NAME", "reaches into a container that is not its own"),
    plain("foreign-label", "takes labels by which gitops and Compose know their own"),
    of(
        "foreign-project",
        "NAME",
        "takes over a Compose project that is not its own, with the volumes that are left of it",
    ),
    plain("gpu", "uses the graphics processors of the host"),
    plain("hooks", "has commands run in its containers when they start or stop"),
    plain("host-cgroup", "sees the control groups of the host"),
    plain("host-ipc", "shares memory with the processes of the host"),
    plain("host-network", "uses the network of the host as if it were no container"),
    plain("host-pid", "sees and signals the processes of the host"),
    of("host-port", "RANGE", "takes a port of the host that is kept for known services"),
    plain("host-uts", "can change the name of the host"),
    of("logging-driver", "X", "has the engine of the host send its log elsewhere"),
    plain("models", "has the host run language models"),
    of("mount", "TYPE:DEVICE", "has the host mount a disk or a share"),
    of("network-driver", "X", "has a driver of the host connect it, past the bridge of Docker"),
    of("network-option", "KEY", "changes how the host treats its network"),
    plain("oom-kill-disable", "may use up the memory of the host without being ended"),
    plain("oom-score", "is ended after others when the memory of the host runs out"),
    plain("privileged", "is root on the host"),
    of("propagation", "X", "mounts something that the host sees, too"),
    plain("provider", "has a program on the host run instead of a container"),
    plain("realtime", "takes processors before everything else on the host"),
    of("runtime", "X", "is run by another container runtime of the host"),
    of("security-opt", "X", "changes what keeps it away from the host"),
    of("sysctl", "KEY", "changes a setting of the kernel"),
    plain("userns-host", "has the user ids of the host"),
    of("volume-driver", "X", "has a driver of the host keep its data"),
];

/// The kind that has this word.
fn kind(word: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.word == word)
}

/// A dangerous power of Compose, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    name: Arc<str>,
    word: &'static str,
}

impl Capability {
    /// The capability of this kind, in its one spelling.
    pub(super) fn new(word: &'static str, what: &str) -> Self {
        let of = kind(word).and_then(|kind| kind.of);
        debug_assert!(of.is_some() || what.is_empty(), "{word}:{what}");
        Self {
            name: of.map_or_else(|| word.into(), |_| format!("{word}:{}", normal(word, what)).into()),
            word,
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What kind it is.
    pub fn kind(&self) -> &'static Kind {
        kind(self.word).expect("a capability is made of a word of the table")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// The ports in `host-port:50-60`.
fn ports(name: &str) -> Option<(u32, u32)> {
    name.strip_prefix("host-port:").and_then(range)
}

/// What stands behind the `:`, in its one spelling.
fn normal(word: &str, what: &str) -> String {
    let what = what.trim();
    match word {
        "cap-add" => {
            let upper = what.to_ascii_uppercase();
            upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
        }
        "bind" => host_path::shown(what),
        "device" if what.starts_with('/') => host_path::shown(what),
        // The rule of a control group: `c 1:3 rwm`.
        "device" => what.split_whitespace().collect::<Vec<_>>().join(" "),
        "sysctl" => what.replace('/', "."),
        "security-opt" => what.replacen('=', ":", 1),
        _ => what.to_owned(),
    }
}

/// How a grant names capabilities: by name, with `*` at the end for any ending, or ports by range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CapabilityPattern {
    /// In the spelling of [`Capability`], without the `*`.
    text: String,
    any_ending: bool,
}

/// Why a text names no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no such kind.
    #[error("there is no capability `{word}`")]
    Unknown {
        /// What was written in front of the `:`.
        word: String,
    },
    /// It does not say of what.
    #[error("`{word}` does not say which: write `{word}:{of}`, or `{word}:*` for all")]
    Incomplete {
        /// The kind.
        word: &'static str,
        /// What stands behind the `:`.
        of: &'static str,
    },
    /// It says of what, and there is nothing to say.
    #[error("`{word}` stands alone, without a `:`")]
    Overfull {
        /// The kind.
        word: &'static str,
    },
    /// No port and no range of ports.
    #[error("`{text}` is not a port or a range such as `50-60`")]
    NoPorts {
        /// What stands behind the `:`.
        text: String,
    },
}

impl CapabilityPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Where it can fit no capability.
    pub fn parse(written: &str) -> Result<Self, PatternError> {
        let (text, any_ending) = match written.trim().strip_suffix('*') {
            Some(start) => (start, true),
            None => (written.trim(), false),
        };
        let Some((word, what)) = text.split_once(':') else { return Self::word(text, any_ending) };
        let Some(kind) = kind(word) else { return Err(unknown(word)) };
        if kind.of.is_none() {
            return Err(PatternError::Overfull { word: kind.word });
        }
        let is_ports = if any_ending { what.is_empty() } else { range(what.trim()).is_some() };
        if kind.word == "host-port" && !is_ports && !what.is_empty() {
            return Err(PatternError::NoPorts { text: what.chars().take(40).collect() });
        }
        if what.trim().is_empty() && !any_ending {
            return Err(PatternError::Incomplete { word: kind.word, of: kind.of.unwrap_or_default() });
        }
        Ok(Self { text: format!("{word}:{}", start_of(word, what, any_ending)), any_ending })
    }

    /// A pattern without `:`.
    fn word(text: &str, any_ending: bool) -> Result<Self, PatternError> {
        let starts = |kind: &Kind| kind.word.starts_with(text);
        match kind(text) {
            _ if any_ending && KINDS.iter().any(starts) => {}
            Some(Kind { word, of: Some(of), .. }) => return Err(PatternError::Incomplete { word, of }),
            Some(_) if !any_ending => {}
            _ => return Err(unknown(text)),
        }
        Ok(Self { text: text.to_owned(), any_ending })
    }

    /// Whether it names this capability.
    pub fn covers(&self, capability: &Capability) -> bool {
        let name = capability.as_str();
        match (self.any_ending, ports(name), ports(&self.text)) {
            (true, ..) => name.starts_with(&self.text),
            (false, Some((first, last)), Some((from, to))) => from <= first && last <= to,
            _ => name == self.text,
        }
    }
}

/// The one spelling of what stands between `:` and `*`.
fn start_of(word: &str, what: &str, any_ending: bool) -> String {
    let whole = normal(word, what);
    let folder = any_ending && matches!(word, "bind" | "device") && what.ends_with('/');
    match (any_ending && what.is_empty(), folder && !whole.ends_with('/')) {
        (true, _) => String::new(),
        (false, true) => whole + "/",
        (false, false) => whole,
    }
}

fn unknown(word: &str) -> PatternError {
    PatternError::Unknown { word: word.chars().take(80).collect() }
}

impl fmt::Display for CapabilityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.any_ending { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_of_its_words_and_has_each_once() {
        assert!(KINDS.is_sorted_by(|one, other| one.word < other.word));
    }

    #[test]
    fn a_pattern_covers_what_it_names_in_any_spelling() {
        let check = |pattern: &str, word, what, expected| {
            let covers =
                CapabilityPattern::parse(pattern).expect(pattern).covers(&Capability::new(word, what));
            assert_eq!(covers, expected, "{pattern} {word}:{what}");
        };
        check("privileged", "privileged", "", true);
        check("*", "privileged", "", true);
        check("host-*", "host-pid", "", true);
        check("host-*", "userns-host", "", false);
        check("cap-add:CAP_net_admin", "cap-add", "NET_ADMIN", true);
        check("cap-add:NET_ADMIN", "cap-add", "cap_net_admin", true);
        check("cap-add:NET_*", "cap-add", "NET_ADMIN", true);
        check("cap-add:NET_ADMIN", "cap-add", "NET_RAW", false);
        check("bind:/srv/media/*", "bind", "/srv//media/./films/", true);
        check("bind:/srv/media/*", "bind", "/srv/media", false);
        check("bind:/srv/media/*", "bind", "/srv/media/../secret", false);
        check("bind:/srv/media/*", "bind", "/srv/mediathek", false);
        check("bind:/srv/media", "bind", "/srv/media/films", false);
        check("bind:/var/run/dbus/*", "bind", "/run/dbus/x", true);
        check("bind:/*", "bind", "/etc", true);
        check("bind:*", "bind", "C:\\data", true);
        check("device:/dev/dri/*", "device", "/dev/dri/renderD128", true);
        check("device:vendor.example/gpu=*", "device", "vendor.example/gpu=0", true);
        check("security-opt:seccomp=unconfined", "security-opt", "seccomp:unconfined", true);
        check("sysctl:net.core.*", "sysctl", "net/core/somaxconn", true);
        check("host-port:53", "host-port", "53", true);
        check("host-port:50-60", "host-port", "53", true);
        check("host-port:50-60", "host-port", "55-60", true);
        check("host-port:50-60", "host-port", "55-61", false);
        check("host-port:50-60", "host-port", "61", false);
        check("host-port:*", "host-port", "1-1023", true);
        check("host-port:5", "host-port", "53", false);
    }

    #[test]
    fn a_pattern_that_can_fit_nothing_is_refused_with_what_to_write() {
        let check = |pattern: &str, expected: &str| {
            assert_eq!(CapabilityPattern::parse(pattern).expect_err(pattern).to_string(), expected);
        };
        check("docker-sockets", "there is no capability `docker-sockets`");
        check("", "there is no capability ``");
        check("nonsense*", "there is no capability `nonsense`");
        check("bnid:/x", "there is no capability `bnid`");
        check("bind", "`bind` does not say which: write `bind:PATH`, or `bind:*` for all");
        check("bind:", "`bind` does not say which: write `bind:PATH`, or `bind:*` for all");
        check("privileged:yes", "`privileged` stands alone, without a `:`");
        check("host-port:dns", "`dns` is not a port or a range such as `50-60`");
        check("host-port:60-50", "`60-50` is not a port or a range such as `50-60`");
        check("host-port:5*", "`5` is not a port or a range such as `50-60`");
    }
}
