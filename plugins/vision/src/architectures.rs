//! The sizes that timm's names of architectures stand for.

use fluxbay_plugin::{Result, bail};

/// Width, blocks, heads and the side of patches of a vision transformer, such as vit_tiny_patch16_224;
/// nothing for other names.
///
/// # Errors
/// A size of vision transformers that is not known.
pub fn vit(name: &str) -> Result<[Option<usize>; 4]> {
    let mut parts = name.split(['_', '.']);
    let (Some("vit"), Some(size), Some(patch)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok([None; 4]);
    };
    let [width, depth, heads] = match size {
        "tiny" => [192, 12, 3],
        "small" => [384, 12, 6],
        "base" => [768, 12, 12],
        "large" => [1024, 24, 16],
        other => bail!("architecture {name}: `{other}` is none of tiny, small, base, large"),
    };
    let patch = patch.strip_prefix("patch").and_then(|patch| patch.parse().ok());
    Ok([Some(width), Some(depth), Some(heads), patch])
}

/// Widths and blocks of the stages of a ConvNeXt, such as convnext_tiny.in12k.
///
/// # Errors
/// A name that is not known.
pub fn convnext(name: &str) -> Result<[Vec<usize>; 2]> {
    let (widths, depths) = match name.split('.').next().unwrap_or_default() {
        "convnext_atto" => ([40, 80, 160, 320], [2, 2, 6, 2]),
        "convnext_tiny" => ([96, 192, 384, 768], [3, 3, 9, 3]),
        "convnext_small" => ([96, 192, 384, 768], [3, 3, 27, 3]),
        "convnext_base" => ([128, 256, 512, 1024], [3, 3, 27, 3]),
        "convnext_large" => ([192, 384, 768, 1536], [3, 3, 27, 3]),
        other => bail!("config.json has neither sizes nor a known architecture, but `{other}`"),
    };
    Ok([widths.to_vec(), depths.to_vec()])
}
