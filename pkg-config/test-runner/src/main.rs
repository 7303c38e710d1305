//! wasm-bindgen's test runner for cargo, with the dependencies of the lock file beside it: those that `cargo install` pins may be gone from the registry.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}
