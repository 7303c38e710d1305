//! `bindgen IN.wasm OUT_DIR`: writes OUT_DIR/mobilesight.js and mobilesight_bg.wasm, an ES module for the web.
//!
//! The library builds in half a minute where the command-line tool takes five times that.

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let input = args.next().context("first argument: the module")?;
    let out = args.next().context("second argument: the folder to write")?;
    Bindgen::new()
        .input_path(input)
        .out_name("mobilesight")
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(out)
}
