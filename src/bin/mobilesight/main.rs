//! The native command line: the engine of the browser on files. A command a file; each makes a report that is written as text or
//! as JSON.
//!
//! Results go to stdout; errors, in words, and progress to stderr. It exits with 0, with 1 when something could not be done, and
//! with 2 when the command line itself is wrong.

mod bench;
mod convert;
mod draw;
mod eval;
mod info;
mod models;
mod options;
mod output;
mod picture;
mod progress;
mod quantize;
mod report;
mod run;
mod session;
mod weights;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobilesight run --weights detector.safetensors --picture street.jpg --draw boxes.png
  mobilesight run --weights segmenter.safetensors --picture street.jpg --json --mask classes.png
  mobilesight convert mobilenet_v3_large-5c1a4163.pth -o classifier.safetensors --dtype f16
  mobilesight eval --weights detector.safetensors --pictures val2017 --truth instances_val2017.json
  mobilesight info detector.safetensors
  mobilesight bench --weights detector.safetensors --picture street.jpg

Exit codes: 0 done, 1 an error, 2 a wrong command line.";

/// TorchVision's MobileNetV3 family on files: the same results as in the browser
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Convert(convert::Args),
    Quantize(quantize::Args),
    Eval(eval::Args),
    Info(info::Args),
    Models(models::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
