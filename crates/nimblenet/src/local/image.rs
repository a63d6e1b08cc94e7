//! The image of a job: all its activations, as a file (spec/snapshot.md, "Job image").

use std::path::Path;

use anyhow::{Context, bail, ensure};
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::{Digest, TaskletName};

use crate::outlet;

/// A file starts with these bytes, of which the last is the version.
const MAGIC: [u8; 8] = *b"NIMBJOB\x01";
/// A job has at most this many activations.
const ACTIVATIONS_MAX: u64 = nimblenet_executor::ACTIVATIONS as u64;
const DIGEST_BYTES: usize = 32;

/// A suspended job: it waits for a sub-tasklet call of its innermost activation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JobImage {
    /// Fuel that the job had at its start.
    pub(crate) fuel: u64,
    /// Sub-tasklet calls made so far, the one that it waits for included.
    pub(crate) calls: u64,
    /// The activations, outermost first.
    pub(crate) activations: Vec<Saved>,
}

/// A suspended activation of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Saved {
    /// The tasklet.
    pub(crate) name: TaskletName,
    /// The export that runs.
    pub(crate) export: String,
    /// The module's digest.
    pub(crate) digest: Digest,
    /// Ceiling on its linear memory, in bytes.
    pub(crate) memory_bytes: u32,
    /// The image of the activation.
    pub(crate) image: Vec<u8>,
}

impl JobImage {
    /// Whether `bytes` start like a job image of any version.
    pub(crate) fn recognise(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC[..7])
    }

    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        self.write(&mut Encoder::new(&mut bytes))
            .expect("a vector takes everything");
        let digest = Digest::of(&bytes);
        bytes.extend(digest.0);
        bytes
    }

    fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder.array(3)?.u64(self.fuel)?.u64(self.calls)?;
        encoder.array(self.activations.len() as u64)?;
        for saved in &self.activations {
            encoder.array(5)?.str(&saved.name.to_string())?;
            encoder.str(&saved.export)?.bytes(&saved.digest.0)?;
            encoder.u32(saved.memory_bytes)?.bytes(&saved.image)?;
        }
        Ok(())
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If they are not an intact job image of this version.
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        ensure!(Self::recognise(bytes), "not a job image");
        ensure!(
            bytes.starts_with(&MAGIC),
            "a job image of another version; thaw it with the release that made it"
        );
        let body = bytes.len().saturating_sub(DIGEST_BYTES).max(MAGIC.len());
        let (body, digest) = bytes.split_at(body);
        ensure!(
            digest == Digest::of(body).0,
            "the job image is damaged (its checksum does not match); freeze the job again"
        );
        let mut decoder = Decoder::new(&body[MAGIC.len()..]);
        let image = Self::read(&mut decoder).context("the job image is malformed")?;
        ensure!(
            decoder.position() == decoder.input().len(),
            "the job image has bytes left over"
        );
        Ok(image)
    }

    fn read(decoder: &mut Decoder<'_>) -> anyhow::Result<Self> {
        array(decoder, 3..=3)?;
        let (fuel, calls) = (decoder.u64()?, decoder.u64()?);
        let count = array(decoder, 1..=ACTIVATIONS_MAX)?;
        let activations = (0..count).map(|_| Saved::read(decoder));
        Ok(Self {
            fuel,
            calls,
            activations: activations.collect::<Result<_, _>>()?,
        })
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<usize> {
        let bytes = self.encode();
        outlet::write(path, &bytes)?;
        Ok(bytes.len())
    }
}

impl Saved {
    fn read(decoder: &mut Decoder<'_>) -> anyhow::Result<Self> {
        array(decoder, 5..=5)?;
        Ok(Self {
            name: TaskletName::new(decoder.str()?)?,
            export: decoder.str()?.to_owned(),
            digest: Digest(decoder.bytes()?.try_into()?),
            memory_bytes: decoder.u32()?,
            image: decoder.bytes()?.to_vec(),
        })
    }
}

fn array(
    decoder: &mut Decoder<'_>,
    expected: std::ops::RangeInclusive<u64>,
) -> anyhow::Result<u64> {
    match decoder.array()? {
        Some(len) if expected.contains(&len) => Ok(len),
        _ => bail!("an array of another length is expected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> JobImage {
        let saved = |name: &str, image: &[u8]| Saved {
            name: TaskletName::new(name).expect("a name"),
            export: "run".to_owned(),
            digest: Digest::of(name.as_bytes()),
            memory_bytes: 65536,
            image: image.to_vec(),
        };
        JobImage {
            fuel: u64::MAX,
            calls: 2,
            activations: vec![saved("floor/chain", b"abc"), saved("global/step", b"")],
        }
    }

    #[test]
    fn a_job_image_reads_back_as_written() {
        let image = example();
        assert_eq!(JobImage::decode(&image.encode()).expect("intact"), image);
    }

    #[test]
    fn att_21_every_cut_and_every_flipped_bit_is_refused() {
        let bytes = example().encode();
        for cut in 0..bytes.len() {
            assert!(JobImage::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(JobImage::decode(&bytes).is_err(), "bit {bit}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(JobImage::decode(&longer).is_err());
    }
}
