//! Uploaded files, laid out as in Synapse's media store.

use std::{fs, path::Path};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{
    START,
    people::Person,
    random::Random,
    table::{self, Sink},
};

/// What is uploaded: the same for everybody who knows the seed.
#[derive(Debug)]
pub(super) struct Media {
    seed: u64,
    pub(super) files: usize,
    /// The mean size of a file.
    pub(super) bytes: usize,
}

impl Media {
    pub(super) fn new(seed: u64, files: usize, bytes: usize) -> Self {
        Self { seed, files, bytes }
    }

    fn id(&self, number: usize) -> String {
        Random::new(self.seed, "media", number).letters(24)
    }

    /// The address of a file, if there are any.
    pub(super) fn uri(&self, server: &str, random: &mut Random) -> Option<String> {
        (self.files > 0).then(|| format!("mxc://{server}/{}", self.id(random.below(self.files))))
    }

    /// Writes the files below Synapse's media directory, and their rows.
    pub(super) fn write(
        &self,
        sink: &mut dyn Sink,
        store: &Path,
        people: &[Person],
    ) -> anyhow::Result<()> {
        let files: Vec<_> = (0..self.files)
            .into_par_iter()
            .map(|number| self.file(number, store))
            .collect::<anyhow::Result<_>>()?;
        for (number, (id, length, hash)) in files.into_iter().enumerate() {
            let ts = START + i64::try_from(number)?;
            let name = format!("file {number}.bin");
            let owner = &people[number % people.len()];
            sink.row(
                &table::MEDIA,
                &[
                    (&id).into(),
                    "application/octet-stream".into(),
                    i64::try_from(length)?.into(),
                    ts.into(),
                    (&name).into(),
                    (&owner.id).into(),
                    ts.into(),
                    true.into(),
                    (&hash).into(),
                ],
            )?;
        }
        Ok(())
    }

    fn file(&self, number: usize, store: &Path) -> anyhow::Result<(String, usize, String)> {
        let id = self.id(number);
        let mut random = Random::new(self.seed, "content", number);
        // Many small files, a few large ones.
        let size = (self.bytes as f64 * 3.0 * random.share().powi(2)) as usize;
        let content = random.bytes(size + 1);
        let folder = store.join("local_content").join(&id[..2]).join(&id[2..4]);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(&id[4..]), &content)?;
        Ok((id, content.len(), hex::encode(Sha256::digest(&content))))
    }
}
