//! Who this node is: an Ed25519 key made at the first start. The node id is the public key.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use ed25519_dalek::SigningKey;
use keepboth_core::ids::NodeId;

use crate::server::StartError;

/// The key's file in the data folder: 32 bytes, readable by its owner alone.
const FILE: &str = "node.key";

/// The id of the node whose data this folder holds. Makes folder and key if there are none.
pub fn load_or_make(data: &Path) -> Result<NodeId, StartError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |error| StartError::Io { what, path, error }
    };
    let mut folder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.recursive(true).create(data).map_err(io("cannot make the data folder", data))?;
    let path = data.join(FILE);
    let seed = match fs::read(&path) {
        Ok(bytes) => <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
            let words = format!("a key has 32 bytes, this file has {}", bytes.len());
            io("cannot read the node's key", &path)(std::io::Error::new(
                ErrorKind::InvalidData,
                words,
            ))
        })?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut seed = [0; 32];
            let random =
                getrandom::fill(&mut seed).map_err(|e| std::io::Error::other(e.to_string()));
            random.map_err(io("no randomness for the node's key", &path))?;
            save(&path, &seed).map_err(io("cannot write the node's key", &path))?;
            seed
        }
        Err(error) => return Err(io("cannot read the node's key", &path)(error)),
    };
    Ok(NodeId(SigningKey::from_bytes(&seed).verifying_key().to_bytes()))
}

/// Writes the key so that it is there whole or not at all.
fn save(path: &Path, seed: &[u8; 32]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(seed)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
