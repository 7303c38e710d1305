//! Pictures and class maps from files.

use anyhow::{Context, Result, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageReader, RgbaImage};
use mobilesight::image::Image;
use png::{BitDepth, ColorType};
use std::fs::{File, read_dir};
use std::io::BufReader;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The picture in file `path`, upright as its EXIF orientation says; as in the browser, its colour profile is ignored.
pub fn open(path: &Path) -> Result<RgbaImage> {
    let file = File::open(path).with_context(|| format!("the picture {} cannot be read", path.display()))?;
    let decode = || {
        let mut decoder = ImageReader::new(BufReader::new(file)).with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture.into_rgba8())
    };
    let decoded: image::ImageResult<RgbaImage> = decode();
    decoded.with_context(|| format!("{} is no JPEG or PNG picture that can be decoded", path.display()))
}

/// `picture` as the engine takes it.
pub fn borrow(picture: &RgbaImage) -> Result<Image<'_>> {
    Ok(Image::new(picture.as_raw(), picture.width() as usize, picture.height() as usize)?)
}

/// The JPEG and PNG files of `folder`, by name.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut found = Vec::new();
    for item in read_dir(folder).with_context(unreadable)? {
        let path = item.with_context(unreadable)?.path();
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        if extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "there is no JPEG or PNG picture in {}", folder.display());
    found.sort();
    Ok(found)
}

/// The class map in the PNG file `path`, a byte a pixel, and its [h, w]. The sample is the class: a palette, as Pascal VOC's
/// maps have one, is only how a viewer shows it.
pub fn open_mask(path: &Path) -> Result<(Vec<u8>, (usize, usize))> {
    let file = File::open(path).with_context(|| format!("the class map {} cannot be read", path.display()))?;
    let decode = || {
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let mut mask = vec![0; reader.output_buffer_size().context("it is too large")?];
        let info = reader.next_frame(&mut mask)?;
        match (info.color_type, info.bit_depth) {
            (ColorType::Grayscale | ColorType::Indexed, BitDepth::Eight) => {}
            other => bail!("its pixels are {other:?}"),
        }
        mask.truncate(info.buffer_size());
        Ok((mask, (info.height as usize, info.width as usize)))
    };
    decode().with_context(|| format!("{} is no class map: a PNG of 8 bits, grey or with a palette", path.display()))
}
