//! A folder in, certificates with their keys in it out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair};

pub(crate) fn write(folder: &Path, count: u32) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for number in 0..count {
        // Of an elliptic curve (P-256), as certificate authorities advise.
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([format!("h{number}.example.com")])?.self_signed(&key)?;
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        fs::write(folder.join(format!("{number}.pem")), both)?;
    }
    Ok(())
}
