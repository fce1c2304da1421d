//! What bodies and results are made smaller with: kombu's methods, under kombu's names.
//!
//! Levels are those of Python's modules, so that a queue takes as much room as it did before.
//!
//! Source: `kombu/compression.py` (names, content types, formats); `tests/vectors` for zlib and bzip2.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::error::{Error, Result};

/// What a decompressed body or result may have at most, where nobody says otherwise: 256 MiB.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;

/// A method of compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Streams of RFC 1950. Compat: kombu calls them `gzip` too, and so does their content type.
    Zlib,
    /// `BZh9…`.
    Bzip2,
    /// The container `.xz`.
    Lzma,
    /// RFC 7932, which has no magic bytes.
    Brotli,
    /// RFC 8878, with the size of the content, which readers before Celery 5.7 insist on.
    Zstd,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Zlib, Self::Bzip2, Self::Lzma, Self::Brotli, Self::Zstd];

    /// Finds the method that has this content type or alias.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.content_type() == name || method.aliases().contains(&name))
    }

    /// What the header `compression` says.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
            Self::Lzma => "application/x-lzma",
            Self::Brotli => "application/x-brotli",
            Self::Zstd => "application/zstd",
        }
    }

    /// What people call it.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Zlib => &["gzip", "zlib"],
            Self::Bzip2 => &["bzip2", "bzip"],
            Self::Lzma => &["lzma", "xz"],
            Self::Brotli => &["brotli"],
            Self::Zstd => &["zstd", "zstandard"],
        }
    }

    /// Makes data smaller.
    ///
    /// # Errors
    /// [`Error::Unencodable`] when the library gives up, which it does only without memory.
    pub fn compress(self, data: &[u8]) -> Result<Vec<u8>> {
        self.try_compress(data).map_err(|error| Error::Unencodable {
            detail: format!("{} cannot compress this: {error}", self.content_type()),
        })
    }

    fn try_compress(self, data: &[u8]) -> io::Result<Vec<u8>> {
        let out = Vec::with_capacity(data.len() / 4 + 64);
        match self {
            Self::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(out, flate2::Compression::new(6));
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(out, bzip2::Compression::best());
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Lzma => {
                let mut encoder = liblzma::write::XzEncoder::new(out, 6);
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(out, BROTLI_BUFFER, 11, 22);
                encoder.write_all(data)?;
                Ok(encoder.into_inner())
            }
            Self::Zstd => zstd::bulk::compress(data, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Gives back what was compressed, as long as it has at most `max_bytes`: what is larger is
    /// refused as soon as it shows, not after it has filled the memory.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the data is cut off, damaged, of another method, or too large.
    pub fn decompress(self, data: &[u8], max_bytes: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        // One byte more than allowed tells too much from just enough.
        let probe = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
        self.reader(data, max_bytes)
            .and_then(|reader| reader.take(probe).read_to_end(&mut out))
            .map_err(|error| self.malformed(&error.to_string()))?;
        if out.len() > max_bytes {
            return Err(self.malformed(&format!(
                "its {} bytes become more than the {max_bytes} that the setting decompressed_max_bytes allows",
                data.len(),
            )));
        }
        Ok(out)
    }

    /// The first bytes of what was compressed, fewer than `length` where there are not so many.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the data does not begin as this method begins.
    pub fn beginning(self, data: &[u8], length: usize) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(length);
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        self.reader(data, DEFAULT_MAX_BYTES)
            .and_then(|reader| reader.take(limit).read_to_end(&mut out))
            .map_err(|error| self.malformed(&error.to_string()))?;
        Ok(out)
    }

    fn reader<'a>(self, data: &'a [u8], max_bytes: usize) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(data)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(data)),
            Self::Lzma => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    dictionary_limit(max_bytes),
                    liblzma::stream::CONCATENATED,
                )?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(data, stream))
            }
            Self::Brotli => Box::new(brotli::Decompressor::new(data, BROTLI_BUFFER)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(data)?),
        })
    }

    fn malformed(self, detail: &str) -> Error {
        Error::Malformed {
            what: "compressed body",
            detail: format!("{}: {detail}", self.content_type()),
        }
    }
}

const BROTLI_BUFFER: usize = 16 * 1024;

/// What the decoder of xz may take for itself: `xz -9` asks for 65 MiB however small the content is.
fn dictionary_limit(max_bytes: usize) -> u64 {
    const XZ_9: u64 = 80 * 1024 * 1024;
    u64::try_from(max_bytes).unwrap_or(u64::MAX).max(XZ_9)
}

/// Gives back a body that may be compressed by a method of this name.
///
/// # Errors
/// [`Error::Malformed`], also when no method has this name.
pub fn unpacked<'a>(body: &'a [u8], compression: Option<&str>, max_bytes: usize) -> Result<Cow<'a, [u8]>> {
    let Some(name) = compression else {
        return Ok(Cow::Borrowed(body));
    };
    let method = Method::named(name).ok_or_else(|| Error::Malformed {
        what: "compressed body",
        detail: format!("no compression is called {name:?} here"),
    })?;
    method.decompress(body, max_bytes).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_its_method_and_so_does_the_content_type() {
        for method in Method::ALL {
            assert_eq!(Method::named(method.content_type()), Some(method));
            for alias in method.aliases() {
                assert_eq!(Method::named(alias), Some(method));
            }
        }
        assert_eq!(Method::named("lz4"), None);
    }

    #[test]
    fn each_format_begins_as_kombus_does() {
        let begin = |method: Method| method.compress(b"[[], {}, {}]").unwrap()[..4].to_vec();
        assert_eq!(begin(Method::Zlib)[..2], [0x78, 0x9C]);
        assert_eq!(begin(Method::Bzip2), b"BZh9");
        assert_eq!(begin(Method::Lzma), b"\xFD7zX");
        assert_eq!(begin(Method::Zstd), b"\x28\xB5\x2F\xFD");
    }

    #[test]
    fn a_zstd_frame_says_how_large_its_content_is() {
        let frame = Method::Zstd.compress(&[7; 1000]).unwrap();
        // Frame header descriptor: two bits of content-size flag, one of single segment.
        assert_ne!(frame[4] & 0b1110_0000, 0);
    }

    #[test]
    fn a_bomb_is_refused_where_its_size_is_one_byte_too_much() {
        let data = vec![0; 1_000_001];
        for method in Method::ALL {
            let bomb = method.compress(&data).unwrap();
            assert_eq!(method.decompress(&bomb, data.len()).unwrap(), data);
            let refusal = method.decompress(&bomb, data.len() - 1).unwrap_err().to_string();
            assert!(refusal.contains("decompressed_max_bytes"), "{refusal}");
        }
    }

    #[test]
    fn what_is_cut_off_is_refused_wherever_it_is_cut() {
        let data: Vec<u8> = (0..3000_u32).flat_map(u32::to_le_bytes).collect();
        for method in Method::ALL {
            let whole = method.compress(&data).unwrap();
            for length in [1, 5, 12, whole.len() / 2, whole.len() - 1] {
                let cut = method.decompress(&whole[..length], DEFAULT_MAX_BYTES);
                assert!(cut.is_err(), "{method:?} took {length} of {} bytes", whole.len());
            }
        }
    }

    #[test]
    fn the_beginning_is_read_without_the_rest() {
        let mut data = b"{\"status\": \"SUCCESS\"".to_vec();
        data.resize(1_000_000, b' ');
        for method in Method::ALL {
            let whole = method.compress(&data).unwrap();
            assert_eq!(method.beginning(&whole, 11).unwrap(), b"{\"status\": ");
        }
    }
}
