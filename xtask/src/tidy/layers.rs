//! The layers: a crate is built only against crates that stand before it in [`LAYERS`].
//!
//! The order stands here once; ARCHITECTURE.md explains it. Tests (dev-dependencies) may reach
//! anywhere but to the program.

use super::Fault;
use crate::workspace::Crate;

/// All crates, each after everything it may be built against.
pub const LAYERS: &[&str] = &[
    "protocol",
    "transport",
    "kinds/storage-kind",
    "kinds/registry",
    "kinds/conformance",
    "evidence",
    "settlement",
    "ledger/contracts",
    "ledger/execution",
    "ledger/consensus",
    "ledger/rpc",
    "ledger/client",
    "validator",
    "agents/agent",
    "agents/storage-agent",
    "services/s3-service",
    "sim",
    "node",
    "bench",
    "fuzz",
    "xtask",
];

/// Crates that are not named after their folder: the program carries the project's name.
const RENAMED: &[(&str, &str)] = &[("node", "wayleave")];

/// What the order alone would allow and the house does not: (who, whom, why). Entries are folders; one
/// that ends in `/` stands for every crate in it, and `*` for any part of a name.
pub const NEVER: &[(&str, &str, &str)] = &[
    ("kinds/*-kind", "kinds/*-kind", "a kind knows no other kind"),
    ("kinds/*-kind", "transport", "kinds are pure"),
    ("evidence", "kinds/", "evidence carries bodies of every kind and understands none"),
    ("evidence", "transport", "evidence does no networking; the validator's shell does"),
    ("settlement", "transport", "settlement reads the archive and nothing else"),
    // The RPC serves clients, over streams that are none of the validators' network.
    ("ledger/c*", "transport", "the ledger has its own network between validators"),
    ("ledger/execution", "transport", "the ledger has its own network between validators"),
    ("ledger/", "kinds/", "the ledger does not know what is being provided"),
    ("ledger/", "evidence", "the ledger orders evidence without reading it"),
    ("ledger/", "settlement", "the ledger takes roots by vote and judges nothing"),
    ("ledger/client", "ledger/execution", "a client needs no virtual machine"),
    ("ledger/client", "ledger/consensus", "a client needs no consensus"),
    ("ledger/client", "ledger/rpc", "a client knows the interface, not the server"),
    ("agents/", "settlement", "agents have no money logic"),
    ("agents/", "validator", "agents talk to validators over the network"),
    ("agents/*-agent", "agents/*-agent", "an agent of one kind knows no other"),
    ("agents/", "ledger/execution", "agents talk to the ledger through its client"),
    ("agents/", "ledger/consensus", "agents talk to the ledger through its client"),
    ("services/", "agents/", "services talk to agents over the network"),
    ("services/*-service", "services/*-service", "a service knows no other"),
    ("services/", "settlement", "services have no money logic"),
    ("services/", "validator", "services talk to validators over the network"),
    ("services/", "ledger/execution", "services talk to the ledger through its client"),
    ("services/", "ledger/consensus", "services talk to the ledger through its client"),
    ("xtask", "node", "chores do not depend on the program"),
    ("xtask", "bench", "chores run the benches as a program"),
];

const FILE: &str = "xtask/src/tidy/layers.rs";

/// Checks that crates are listed, named after their folders, and lean only downwards.
pub fn check(crates: &[Crate]) -> Vec<Fault> {
    let mut faults = unlisted(crates);
    for one in crates {
        let manifest = format!("{}/Cargo.toml", one.folder);
        if expected_name(&one.folder) != one.name {
            faults.push(Fault::new(
                &manifest,
                format!("crate `{}` lives in a folder of another name", one.name),
                "give crate and folder one name",
            ));
        }
        for other in &one.product {
            let Some(other) = crates.iter().find(|c| c.name == *other) else { continue };
            faults.extend(
                forbidden(&one.folder, &other.folder)
                    .map(|(wrong, mend)| Fault::new(&manifest, wrong, mend)),
            );
        }
        for other in one.tests.iter().filter(|name| name.as_str() == expected_name("node")) {
            let wrong = format!("tests of `{}` depend on `{other}`", one.folder);
            faults.push(Fault::new(&manifest, wrong, "move the test to `node`"));
        }
    }
    faults
}

/// The name that the crate in `folder` should have.
fn expected_name(folder: &str) -> &str {
    let renamed = RENAMED.iter().find(|(at, _)| *at == folder).map(|(_, name)| *name);
    renamed.unwrap_or_else(|| folder.rsplit('/').next().unwrap_or(folder))
}

/// Crates missing from the list, and entries of the list without a crate.
fn unlisted(crates: &[Crate]) -> Vec<Fault> {
    let missing = crates.iter().filter(|one| !LAYERS.contains(&one.folder.as_str())).map(|one| {
        Fault::new(
            FILE,
            format!("crate `{}` has no layer", one.folder),
            "add it to LAYERS after all it is built against",
        )
    });
    let gone = LAYERS.iter().filter(|layer| crates.iter().all(|one| one.folder != **layer));
    let gone = gone.map(|layer| {
        Fault::new(FILE, format!("LAYERS names `{layer}`, which is no crate"), "remove the entry")
    });
    missing.chain(gone).collect()
}

/// Why `one` must not be built against `other`, and what to do instead.
fn forbidden(one: &str, other: &str) -> Option<(String, String)> {
    let place = |folder: &str| LAYERS.iter().position(|layer| *layer == folder);
    if let (Some(lower), Some(upper)) = (place(one), place(other))
        && lower <= upper
    {
        return Some((
            format!("`{one}` depends on `{other}`, which stands above it"),
            format!("move what `{one}` needs to a crate before it in LAYERS ({FILE})"),
        ));
    }
    let (_, _, why) =
        NEVER.iter().find(|(who, whom, _)| matches(who, one) && matches(whom, other))?;
    Some((
        format!("`{one}` depends on `{other}`: {why}"),
        "remove the dependency from the manifest; share through `protocol` if both need it".into(),
    ))
}

/// Whether a folder is meant by a pattern of [`NEVER`].
fn matches(pattern: &str, folder: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => {
            folder.len() >= head.len() + tail.len()
                && folder.starts_with(head)
                && folder.ends_with(tail)
        }
        None if pattern.ends_with('/') => folder.starts_with(pattern),
        None => folder == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(folder: &str, product: &[&str]) -> Crate {
        Crate {
            name: expected_name(folder).to_owned(),
            folder: folder.to_owned(),
            product: product.iter().map(|name| (*name).to_owned()).collect(),
            tests: Default::default(),
        }
    }

    fn all() -> Vec<Crate> {
        LAYERS.iter().map(|folder| one(folder, &[])).collect()
    }

    fn with(folder: &str, product: &[&str]) -> Vec<Fault> {
        let mut crates = all();
        *crates.iter_mut().find(|c| c.folder == folder).unwrap() = one(folder, product);
        check(&crates)
    }

    #[test]
    fn leaning_down_is_fine() {
        assert_eq!(check(&all()), []);
        assert_eq!(with("settlement", &["protocol", "evidence", "registry"]), []);
        assert_eq!(with("agents/storage-agent", &["agent", "storage-kind"]), []);
    }

    #[test]
    fn leaning_up_is_named() {
        let faults = with("protocol", &["evidence"]);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].path, "protocol/Cargo.toml");
        assert!(faults[0].wrong.contains("stands above"));
    }

    #[test]
    fn neighbours_that_the_order_allows_are_named_too() {
        for (who, whom) in [
            ("ledger/rpc", "settlement"),
            ("ledger/client", "consensus"),
            ("services/s3-service", "storage-agent"),
            ("evidence", "storage-kind"),
        ] {
            assert_eq!(with(who, &[whom]).len(), 1, "{who} -> {whom}");
        }
    }

    #[test]
    fn strangers_and_ghosts_are_named() {
        let mut crates = all();
        crates.push(one("kinds/lorawan-kind", &[]));
        crates.retain(|c| c.folder != "transport");
        let faults = check(&crates);
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.path == FILE));
    }
}
