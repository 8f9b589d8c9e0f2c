//! Who this node is: an Ed25519 key made at the first start. The node id is the public key.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use keepboth_core::identity::NodeKey;

use crate::atomic;
use crate::server::StartError;

/// The key's file in the data folder: 32 bytes, readable by its owner alone.
const FILE: &str = "node.key";

/// The key of the node whose data this folder holds. Makes folder and key if there are none.
pub fn load_or_make(data: &Path) -> Result<NodeKey, StartError> {
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
            atomic::write_private(&path, &seed)
                .map_err(io("cannot write the node's key", &path))?;
            seed
        }
        Err(error) => return Err(io("cannot read the node's key", &path)(error)),
    };
    Ok(NodeKey::from_seed(&seed))
}
