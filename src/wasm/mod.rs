//! What JavaScript sees; everything that names the browser is here, and nothing else is. www/lib/engine.ts has the same in
//! TypeScript.

mod js_options;
mod js_source;

use crate::image::Image;
use crate::models::registry::{Entry, Task, describe, entry};
use crate::models::{Model, Options, Output, Raw};
use crate::nn::Context;
use crate::parallel;
use crate::profile::{Layer, Profile};
use crate::simd::DotKind;
use crate::tensor::Workspace;
use crate::weights::{Blank, Metadata, SafeTensorsFile, Weights};
use crate::{Error, Result};
use js_options::JsOptions;
use js_source::JsSource;
use js_sys::{Float32Array, Object, Uint8Array, Uint32Array};
use serde::Serialize;
use serde_wasm_bindgen::preserve;
use std::cell::Cell;
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

/// Ends a run for want of memory. The engine is of no use then; www/lib/worker.ts knows the words.
pub(crate) fn throw_out_of_memory() -> ! {
    wasm_bindgen::throw_str("out of memory")
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

/// What `run()` gives: the arrays of the model's task, and milliseconds. serde_wasm_bindgen makes each key once, where a string that is made for
/// each run takes 10 to 20 us, most of it in the browser's TextDecoder.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct JsResult {
    #[serde(serialize_with = "preserve::serialize", skip_serializing_if = "JsValue::is_undefined")]
    boxes: JsValue,
    #[serde(serialize_with = "preserve::serialize", skip_serializing_if = "JsValue::is_undefined")]
    scores: JsValue,
    #[serde(serialize_with = "preserve::serialize", skip_serializing_if = "JsValue::is_undefined")]
    class_ids: JsValue,
    #[serde(serialize_with = "preserve::serialize", skip_serializing_if = "JsValue::is_undefined")]
    mask: JsValue,
    preprocess: f64,
    network: f64,
    postprocess: f64,
}

/// A loaded model and the memory it runs in.
#[wasm_bindgen]
pub struct Engine {
    metadata: Metadata,
    int8: bool,
    entry: &'static Entry,
    model: Box<dyn Model>,
    workspace: Workspace,
    output: Output,
    /// Runs on grey pictures.
    greys: usize,
    /// Pixels of the network's last input.
    input: usize,
}

#[wasm_bindgen]
impl Engine {
    /// Reads the model in the file that `parts` are, one after the other; they stay in JavaScript's memory. `arch` and `labels` serve a file
    /// that does not describe itself.
    ///
    /// # Errors
    /// { code, message }, as [`Error`] has them.
    #[wasm_bindgen(constructor)]
    pub fn new(
        parts: Vec<Uint8Array>,
        arch: Option<String>,
        labels: Option<Vec<String>>,
    ) -> std::result::Result<Engine, JsValue> {
        let source = JsSource::new(parts);
        SafeTensorsFile::new(&source).and_then(|file| load(&file, &file, arch, labels)).map_err(throw)
    }

    /// { task, arch, labels, dtype, int8Gemm?, source?, license? }.
    pub fn info(&self) -> JsValue {
        to_js(&Info {
            task: self.entry.task,
            arch: self.entry.arch,
            labels: &self.metadata.labels,
            dtype: if self.int8 { "int8" } else { "f32" },
            int8_gemm: self.int8.then(|| DotKind::of_engine().name()),
            source: self.metadata.source.as_deref(),
            license: self.metadata.license.as_deref(),
        })
    }

    /// Runs on grey pictures until the browser has compiled what is hot, at least once, so that the workspace gets its memory.
    ///
    /// # Errors
    /// { code, message }; none is expected.
    #[wasm_bindgen(js_name = warmUp)]
    pub fn warm_up(&mut self) -> std::result::Result<(), JsValue> {
        while self.run_grey().map_err(throw)? {}
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
        let ran = self.steps(rgba, (width, height), &options.into(), None).map_err(throw)?;
        Ok(self.result(ran, top_k))
    }

    /// [{ name, ms }] of each layer of a run, in their order.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub fn profile(&mut self, rgba: &Uint8Array, width: usize, height: usize) -> std::result::Result<JsValue, JsValue> {
        let mut profile = Profile::start(now);
        let mut clock = |name: &str| profile.lap(name);
        let Ran { times, .. } =
            self.steps(rgba, (width, height), &Options::default(), Some(&mut clock)).map_err(throw)?;
        let mut layers = profile.layers;
        let seen: f64 = layers.iter().map(|layer| layer.ms).sum();
        layers.push(Layer { name: "rest".to_string(), ms: times.iter().sum::<f64>() - seen });
        Ok(to_js(&layers))
    }
}

/// What the three steps leave beside the output.
struct Ran {
    /// Milliseconds of each.
    times: [f64; 3],
    /// Room for a mask, if it was made.
    mask: Option<Uint8Array>,
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(extends = Uint8Array, js_name = Uint8Array)]
    type Bytes;
    #[wasm_bindgen(constructor, js_class = "Uint8Array", catch)]
    fn new(len: u32) -> std::result::Result<Bytes, JsValue>;
}

/// Bytes of JavaScript's memory whose pages are there: a fresh page takes 1.6 us where it is first written, ten times as long as to copy into it
/// (Chromium on Intel, November 2026). None where there is no memory: an exception must not leave a region that others work at.
fn touched(len: u32) -> Option<Uint8Array> {
    const PAGE: usize = 4096;
    let bytes = Bytes::new(len).ok()?.unchecked_into::<Uint8Array>();
    (0..len).step_by(PAGE).for_each(|i| bytes.set_index(i, 0));
    Some(bytes)
}

/// The model that `file` describes, of `weights`.
fn load(
    file: &SafeTensorsFile,
    weights: &dyn Weights,
    arch: Option<String>,
    labels: Option<Vec<String>>,
) -> Result<Engine> {
    let metadata = describe(file, arch.as_deref(), labels)?;
    let entry = entry(&metadata.arch)?;
    let model = (entry.load)(weights, &metadata)?;
    Ok(Engine {
        metadata,
        int8: weights.is_quantised(),
        entry,
        model,
        workspace: Workspace::default(),
        output: Output::default(),
        greys: 0,
        input: 0,
    })
}

/// A model without its values, to run while they are on their way: the browser compiles what they will need.
#[wasm_bindgen]
pub struct Rehearsal(Engine);

#[wasm_bindgen]
impl Rehearsal {
    /// The model that `head`, the beginning of a file of `length` bytes, describes; `arch` and `labels` as for [`Engine::new`].
    ///
    /// # Errors
    /// { code, message }: the file's own, or that it is none to make room for on a promise.
    #[wasm_bindgen(constructor)]
    pub fn new(
        head: Uint8Array,
        length: usize,
        arch: Option<String>,
        labels: Option<Vec<String>>,
    ) -> std::result::Result<Rehearsal, JsValue> {
        const MOST: usize = 256 << 20;
        let source = JsSource::new(vec![head]);
        let rehearse = || {
            let file = SafeTensorsFile::head(&source)?;
            if file.promised_len() != length || length > MOST {
                return Err(Error::WeightsMismatch(format!("{length} bytes are not those of the header, or too many")));
            }
            load(&file, &Blank(&file), arch, labels)
        };
        rehearse().map(Rehearsal).map_err(throw)
    }

    /// One run; gives whether another one is of use.
    ///
    /// # Errors
    /// { code, message }; none is expected.
    pub fn run(&mut self) -> std::result::Result<bool, JsValue> {
        self.0.run_grey().map_err(throw)
    }
}

thread_local! {
    /// Milliseconds of runs on grey pictures in this module, of whatever model.
    static WARM: Cell<f64> = const { Cell::new(0.0) };
}

impl Engine {
    /// One run on a grey picture; gives whether another one is of use.
    ///
    /// The browser's optimiser works in the background, in Chromium on Intel (November 2026) through some 0.1 s of runs, 0.2 s on two threads, of
    /// which the first takes two to eight times as long as later ones; after 0.4 s a first real run takes no less time than after 0.2 s. The first
    /// picture has the network's own size: it is not resized, by code of which one run is enough for it to be compiled. The others have three
    /// shapes, since other remainders of tiles are code of their own, one of them the widest that photographs mostly have, whose memory does for
    /// the others.
    fn run_grey(&mut self) -> Result<bool> {
        const SHAPES: [(usize, usize); 3] = [(480, 480), (480, 720), (640, 480)];
        const LONG_ENOUGH: f64 = 200.0;
        // Nothing is to be seen in grey, and a detector's heads and suppression are to run too.
        let options = Options { rpn_score_thresh: Some(0.0), rpn_post_nms_top_n: Some(60), ..Options::default() };
        // A large network's remainders are few of its tiles, and every shape takes memory.
        const LARGE: usize = 1 << 18;
        let start = now();
        let shapes = if self.input < LARGE { SHAPES.len() } else { 1 };
        let (height, width) = match self.greys {
            0 => self.model.resized(SHAPES[0]),
            greys => SHAPES[greys % shapes],
        };
        let bytes = (width * height * 4) as u32;
        let grey = Uint8Array::new_with_length(bytes).fill(128, 0, bytes);
        // What reads options and makes objects of results is to be compiled, too.
        serde_wasm_bindgen::from_value::<JsOptions>(Object::new().into()).expect("every option may be missing");
        let ran = self.steps(&grey, (width, height), &options, None)?;
        self.result(ran, TOP_K);
        self.greys += 1;
        WARM.set(WARM.get() + now() - start);
        Ok(WARM.get() < LONG_ENOUGH)
    }

    /// Room for a segmenter's mask of `pixels`, which grows with the picture, and is asked for where a refusal harms nothing.
    fn make_room(&mut self, pixels: usize) -> Result<()> {
        if self.entry.task != Task::Segmentation {
            return Ok(());
        }
        let mask = &mut self.output.mask;
        if pixels > mask.capacity() {
            *mask = Vec::new();
        }
        let refusal = |_| Error::OutOfMemory("there is no memory for the mask; give a smaller picture".to_string());
        mask.try_reserve_exact(pixels.saturating_sub(mask.len())).map_err(refusal)
    }

    /// The three steps.
    fn steps(
        &mut self,
        rgba: &Uint8Array,
        (width, height): (usize, usize),
        options: &Options,
        clock: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Ran> {
        parallel::wake();
        let rgba = JsSource::new(vec![rgba.clone()]);
        let image = Image::new(&rgba, width, height)?;
        self.model.check(&image)?;
        self.make_room(width * height)?;
        let mut mask = None;
        let mut make_mask = || mask = touched((width * height) as u32);
        let is_shared = self.entry.task == Task::Segmentation && parallel::threads() > 1 && clock.is_none();
        let beside = is_shared.then_some(&mut make_mask as &mut dyn FnMut());
        let clock = clock.map(|clock| -> &mut dyn FnMut(&str) { clock });
        let mut cx = Context { workspace: std::mem::take(&mut self.workspace), clock, beside, ..Context::default() };
        let start = now();
        let input = self.model.preprocess(&mut cx, image);
        let (size, prepared) = (input.size, now());
        self.input = size.0 * size.1;
        let raw: Raw = self.model.forward(&mut cx, input, options);
        let computed = now();
        raw.postprocess(&mut cx, size, (height, width), &mut self.output);
        self.workspace = cx.workspace;
        Ok(Ran { times: [prepared - start, computed - prepared, now() - computed], mask })
    }

    /// The output and the times as one object.
    fn result(&self, Ran { times: [preprocess, network, postprocess], mask }: Ran, top_k: usize) -> JsValue {
        let mut result = JsResult { preprocess, network, postprocess, ..JsResult::default() };
        let mut set_best = |scores: Vec<f32>, classes: Vec<u32>| {
            result.scores = Float32Array::from(&scores[..]).into();
            result.class_ids = Uint32Array::from(&classes[..]).into();
        };
        match self.entry.task {
            Task::Detection => {
                let found = &self.output.detections;
                set_best(found.iter().map(|d| d.score).collect(), found.iter().map(|d| d.group as u32).collect());
                let boxes: Vec<f32> = found.iter().flat_map(|d| d.b).collect();
                result.boxes = Float32Array::from(&boxes[..]).into();
            }
            Task::Classification => {
                let best = &self.output.classes[..top_k.min(self.output.classes.len())];
                set_best(best.iter().map(|b| b.1).collect(), best.iter().map(|b| b.0 as u32).collect());
            }
            Task::Segmentation => {
                let classes = &self.output.mask[..];
                let filled = mask.inspect(|mask| mask.copy_from(classes));
                result.mask = filled.unwrap_or_else(|| Uint8Array::from(classes)).into();
            }
        }
        to_js(&result)
    }
}
