//! The files of certificates and keys that the configuration names: whether they can be used.

use super::mistake::Mistake;
use super::shape::Config;
use crate::tls::{Fault, What, authorities};

/// What is wrong with them.
pub(super) fn find(config: &Config) -> Vec<Mistake> {
    let server = config.server.tls.iter().filter_map(|tls| tls.files().read().err());
    let mesh = config.mesh.ca.iter().filter_map(|ca| authorities(ca).err());
    server.flat_map(|faults| faults.0).chain(mesh).map(mistake).collect()
}

fn mistake(fault: Fault) -> Mistake {
    let pointer = match fault.what {
        What::Cert => "/server/tls/cert",
        What::Key => "/server/tls/key",
        What::Ca => "/mesh/ca",
    };
    Mistake::new(pointer, fault.message).hint(fault.hint)
}
