//! What JavaScript sees; everything that names the browser is here, and nothing else is. www/lib/engine.ts has the same in
//! TypeScript.

use crate::image::Image;
use crate::models::registry::{Entry, Task, describe, entry};
use crate::models::{Model, Options, Output, Raw};
use crate::nn::Context;
use crate::simd::{Best, DotKind, Simd};
use crate::tensor::{Tensor, Workspace};
use crate::weights::{Metadata, SafeTensorsFile, Source, StateDict};
use crate::{Error, Result};
use ::safetensors::Dtype;
use js_sys::{Float32Array, Object, Reflect, Uint8Array, Uint32Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

#[cfg(feature = "threads")]
pub use wasm_bindgen_rayon::init_thread_pool;

/// Classes that a classifier gives where the call does not say how many.
const TOP_K: usize = 5;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// Makes a panic of a debug build readable in the console.
#[wasm_bindgen(start)]
pub fn start() {
    #[cfg(debug_assertions)]
    console_error_panic_hook::set_once();
}

/// A file in JavaScript's memory.
struct JsFile<'a>(&'a Uint8Array);

impl Source for JsFile<'_> {
    fn len(&self) -> usize {
        self.0.length() as usize
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.subarray(offset as u32, (offset + into.len()) as u32).copy_to(into);
    }
}

/// An error as JavaScript gets it: { code, message }.
#[derive(Serialize)]
struct JsError {
    code: &'static str,
    message: String,
}

fn to_js<T: Serialize>(value: &T) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).expect("plain data becomes a plain object")
}

fn throw(error: Error) -> JsValue {
    to_js(&JsError { code: error.code(), message: error.to_string() })
}

/// What `info()` tells.
#[derive(Serialize)]
struct Info<'a> {
    task: Task,
    arch: &'a str,
    labels: &'a [String],
    dtype: &'static str,
    #[serde(rename = "int8Gemm", skip_serializing_if = "Option::is_none")]
    int8_gemm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<&'a str>,
}

/// Per-call options, by the wrapper's names.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsOptions {
    score_threshold: Option<f32>,
    max_results: Option<usize>,
    category_allowlist: Option<Vec<usize>>,
    nms_threshold: Option<f32>,
    rpn: RpnOptions,
    top_k: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RpnOptions {
    pre_nms_top_n: Option<usize>,
    post_nms_top_n: Option<usize>,
    score_threshold: Option<f32>,
    nms_threshold: Option<f32>,
}

impl From<JsOptions> for Options {
    fn from(js: JsOptions) -> Options {
        let mut classes = js.category_allowlist;
        if let Some(classes) = &mut classes {
            classes.sort_unstable();
        }
        Options {
            score_thresh: js.score_threshold,
            nms_thresh: js.nms_threshold,
            detections_per_img: js.max_results,
            classes,
            rpn_pre_nms_top_n: js.rpn.pre_nms_top_n,
            rpn_post_nms_top_n: js.rpn.post_nms_top_n,
            rpn_score_thresh: js.rpn.score_threshold,
            rpn_nms_thresh: js.rpn.nms_threshold,
        }
    }
}

/// A layer of a profile.
#[derive(Serialize)]
struct Layer {
    name: String,
    ms: f64,
}

/// A loaded model and the memory it runs in.
#[wasm_bindgen]
pub struct Engine {
    metadata: Metadata,
    int8: bool,
    entry: &'static Entry,
    model: Box<dyn Model>,
    workspace: Workspace,
    /// The picture of the last run, kept for its memory.
    rgba: Vec<u8>,
    output: Output,
}

#[wasm_bindgen]
impl Engine {
    /// Reads the model in `file`, which stays in JavaScript's memory; `arch` and `labels` serve a file that does not describe itself.
    ///
    /// # Errors
    /// { code, message }, as [`Error`] has them.
    #[wasm_bindgen(constructor)]
    pub fn new(
        file: &Uint8Array,
        arch: Option<String>,
        labels: Option<Vec<String>>,
    ) -> std::result::Result<Engine, JsValue> {
        load(file, arch, labels).map_err(throw)
    }

    /// { task, arch, labels, dtype, int8Gemm?, source?, license? }.
    pub fn info(&self) -> JsValue {
        to_js(&Info {
            task: self.entry.task,
            arch: self.entry.arch,
            labels: &self.metadata.labels,
            dtype: if self.int8 { "int8" } else { "f32" },
            int8_gemm: self.int8.then(int8_gemm),
            source: self.metadata.source.as_deref(),
            license: self.metadata.license.as_deref(),
        })
    }

    /// Runs on grey pictures until the browser has compiled what is hot, by its optimiser in the background: some 0.3 s of runs in Chromium on Zen 5
    /// (November 2026), before which a run takes up to twice as long, on two threads three times. The workspace gets its memory, too. Pictures have
    /// three shapes, since other remainders of tiles are code of their own.
    ///
    /// # Errors
    /// { code, message }; none is expected.
    #[wasm_bindgen(js_name = warmUp)]
    pub fn warm_up(&mut self) -> std::result::Result<(), JsValue> {
        const SHAPES: [(u32, u32); 3] = [(320, 320), (428, 320), (320, 428)];
        const LONG_ENOUGH: f64 = 400.0;
        // Nothing is to be seen in grey, and a detector's heads and suppression are to run too.
        let options = Options { rpn_score_thresh: Some(0.0), rpn_post_nms_top_n: Some(60), ..Options::default() };
        let start = now();
        for (width, height) in SHAPES.into_iter().cycle() {
            let bytes = width * height * 4;
            let grey = Uint8Array::new_with_length(bytes).fill(128, 0, bytes);
            self.steps(&grey, (width as usize, height as usize), &options, None).map_err(throw)?;
            if now() - start > LONG_ENOUGH {
                break;
            }
        }
        Ok(())
    }

    /// Runs on `rgba`, width * height * 4 bytes: { boxes, scores, classIds }, { mask } or { scores, classIds }, and { preprocess, network, postprocess }
    /// in milliseconds.
    ///
    /// # Errors
    /// { code, message } when the picture is empty or of another size.
    pub fn run(
        &mut self,
        rgba: &Uint8Array,
        width: usize,
        height: usize,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        let options = match options.is_undefined() {
            true => JsOptions::default(),
            false => serde_wasm_bindgen::from_value(options)?,
        };
        let top_k = options.top_k.unwrap_or(TOP_K);
        let times = self.steps(rgba, (width, height), &options.into(), None).map_err(throw)?;
        self.result(times, top_k)
    }

    /// [{ name, ms }] of each layer of a run, in their order.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub fn profile(&mut self, rgba: &Uint8Array, width: usize, height: usize) -> std::result::Result<JsValue, JsValue> {
        let mut layers = Vec::new();
        let mut last = now();
        let mut record = |name: &str, _: &Tensor| {
            let at = now();
            layers.push(Layer { name: name.to_string(), ms: at - last });
            last = at;
        };
        let times = self.steps(rgba, (width, height), &Options::default(), Some(&mut record)).map_err(throw)?;
        let seen: f64 = layers.iter().map(|layer| layer.ms).sum();
        layers.push(Layer { name: "rest".to_string(), ms: times.iter().sum::<f64>() - seen });
        Ok(to_js(&layers))
    }
}

/// Which of the module's int8 GEMMs runs on this machine.
fn int8_gemm() -> &'static str {
    match DotKind::probe::<Best, <Best as Simd>::Dot>() {
        DotKind::I16 => "dot-i16",
        DotKind::I8Unsigned | DotKind::I8Signed => "dot-i8",
    }
}

fn load(file: &Uint8Array, arch: Option<String>, labels: Option<Vec<String>>) -> Result<Engine> {
    let source = JsFile(file);
    let file = SafeTensorsFile::new(&source)?;
    let metadata = describe(&file, arch.as_deref(), labels)?;
    let entry = entry(&metadata.arch)?;
    let model = (entry.load)(&file, &metadata)?;
    let int8 = file.tensors().iter().any(|tensor| tensor.dtype == Dtype::I8);
    Ok(Engine {
        metadata,
        int8,
        entry,
        model,
        workspace: Workspace::default(),
        rgba: Vec::new(),
        output: Output::default(),
    })
}

impl Engine {
    /// The three steps, their milliseconds.
    fn steps<'a>(
        &mut self,
        rgba: &Uint8Array,
        (width, height): (usize, usize),
        options: &Options,
        observer: Option<&'a mut crate::nn::Observer<'a>>,
    ) -> Result<[f64; 3]> {
        self.rgba.resize(rgba.length() as usize, 0);
        rgba.copy_to(&mut self.rgba);
        let image = Image::new(&self.rgba, width, height)?;
        let mut cx = Context { workspace: std::mem::take(&mut self.workspace), observer, ..Context::default() };
        let start = now();
        let input = self.model.preprocess(&mut cx, image);
        let (size, prepared) = (input.size, now());
        let raw: Raw = self.model.forward(&mut cx, input, options);
        let computed = now();
        raw.postprocess(&mut cx, size, (height, width), &mut self.output);
        self.workspace = cx.workspace;
        Ok([prepared - start, computed - prepared, now() - computed])
    }

    /// The output and the times as one object.
    fn result(
        &self,
        [preprocess, network, postprocess]: [f64; 3],
        top_k: usize,
    ) -> std::result::Result<JsValue, JsValue> {
        let result = Object::new();
        let set = |key: &str, value: &JsValue| Reflect::set(&result, &key.into(), value).map(drop);
        match self.entry.task {
            Task::Detection => {
                let found = &self.output.detections;
                let boxes: Vec<f32> = found.iter().flat_map(|d| d.b).collect();
                let scores: Vec<f32> = found.iter().map(|d| d.score).collect();
                let classes: Vec<u32> = found.iter().map(|d| d.group as u32).collect();
                set("boxes", &Float32Array::from(&boxes[..]))?;
                set("scores", &Float32Array::from(&scores[..]))?;
                set("classIds", &Uint32Array::from(&classes[..]))?;
            }
            Task::Classification => {
                let best = &self.output.classes[..top_k.min(self.output.classes.len())];
                let scores: Vec<f32> = best.iter().map(|(_, score)| *score).collect();
                let classes: Vec<u32> = best.iter().map(|(class, _)| *class as u32).collect();
                set("scores", &Float32Array::from(&scores[..]))?;
                set("classIds", &Uint32Array::from(&classes[..]))?;
            }
            Task::Segmentation => set("mask", &Uint8Array::from(&self.output.mask[..]))?,
        }
        set("preprocess", &preprocess.into())?;
        set("network", &network.into())?;
        set("postprocess", &postprocess.into())?;
        Ok(result.into())
    }
}
