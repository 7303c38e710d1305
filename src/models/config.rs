//! A builder's parameters as a weights file states them: `__metadata__["mobilesight"].config`, by TorchVision's names.
//! What the file leaves out has the default of TorchVision's builder.

use super::classification::ClassifierConfig;
use super::detection::faster_rcnn::FasterRcnnConfig;
use super::detection::roi_heads::BoxConfig;
use super::detection::ssdlite::SsdliteConfig;
use super::mobilenetv3::InvertedResidualConfig;
use super::segmentation::SegmentationConfig;
use super::segmentation::lraspp::LrasppConfig;
use crate::kernels::Activation;
use crate::weights::Metadata;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most rows, channels or classes that a file may ask for: beyond any model of the family.
const MOST: usize = 1 << 14;
/// Classes that fit a mask's byte.
const MOST_MASK_CLASSES: usize = 256;
/// What this crate's own files say beside the parameters, for people.
const REMARKS: [&str; 2] = ["inverted_residual_setting_columns", "quantization"];

/// input, kernel, expanded, out, use_se, activation, stride, dilation.
type Row = (usize, usize, usize, usize, bool, String, usize, usize);

/// Every parameter that a file may state; a builder reads its own.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct FileConfig {
    inverted_residual_setting: Option<Vec<Row>>,
    batch_norm_eps: Option<f32>,
    num_classes: Option<usize>,
    inter_channels: Option<usize>,
    last_channel: Option<usize>,
    representation_size: Option<usize>,
    min_size: Option<usize>,
    max_size: Option<usize>,
    rpn_pre_nms_top_n_test: Option<usize>,
    rpn_post_nms_top_n_test: Option<usize>,
    rpn_score_thresh: Option<f32>,
    rpn_nms_thresh: Option<f32>,
    box_score_thresh: Option<f32>,
    box_nms_thresh: Option<f32>,
    box_detections_per_img: Option<usize>,
}

/// The preprocessing that a file may state.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct FilePreset {
    resize: Option<usize>,
    crop: Option<usize>,
}

impl FileConfig {
    fn set_boxes(&self, boxes: &mut BoxConfig) -> Result<()> {
        set(&mut boxes.score_thresh, self.box_score_thresh);
        set(&mut boxes.nms_thresh, self.box_nms_thresh);
        set(&mut boxes.detections_per_img, self.box_detections_per_img);
        check_fractions(&[boxes.score_thresh, boxes.nms_thresh], "box_score_thresh, box_nms_thresh")
    }
}

/// The JSON object `value`, or the defaults where it is null.
fn parse<T: Default + for<'de> Deserialize<'de>>(value: &Value) -> Result<T> {
    if value.is_null() {
        return Ok(T::default());
    }
    T::deserialize(value).map_err(|e| refuse(format_args!("cannot be read ({e})")))
}

fn refuse(what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("the file's config {what}; correct it in the file's metadata"))
}

fn row(
    (input_channels, kernel, expanded_channels, out_channels, use_se, name, stride, dilation): Row,
) -> Result<InvertedResidualConfig> {
    let activation = match name.as_str() {
        "RE" => Activation::Relu,
        "HS" => Activation::Hardswish,
        other => return Err(refuse(format_args!("has activation {other:?}, not RE or HS"))),
    };
    let channels = [input_channels, expanded_channels, out_channels];
    let known = matches!(kernel, 3 | 5) && matches!(stride, 1 | 2) && (1..=16).contains(&dilation);
    if !known || channels.iter().any(|c| *c == 0 || *c > MOST || !c.is_multiple_of(4)) {
        let row = (input_channels, kernel, expanded_channels, out_channels, stride, dilation);
        return Err(refuse(format_args!(
            "has a row {row:?}: kernels are 3 or 5, strides 1 or 2, dilations 1 to 16, channels come in fours"
        )));
    }
    Ok(InvertedResidualConfig {
        input_channels,
        kernel,
        expanded_channels,
        out_channels,
        use_se,
        activation,
        stride,
        dilation,
    })
}

/// The rows of a file, when it has them, into `to`; each row's input is the output of the row before.
fn set_rows(to: &mut Vec<InvertedResidualConfig>, rows: Option<Vec<Row>>) -> Result<()> {
    let Some(rows) = rows else { return Ok(()) };
    if rows.windows(2).any(|pair| pair[0].3 != pair[1].0) {
        return Err(refuse("has a row whose input channels are not the output channels of the row before"));
    }
    *to = rows.into_iter().map(row).collect::<Result<_>>()?;
    Ok(())
}

/// Refuses sizes that no model of the family has: `what` names them.
fn check_sizes(sizes: &[usize], batch_norm_eps: f32, what: &str) -> Result<()> {
    if sizes.iter().any(|s| *s == 0 || *s > MOST) || !(0.0..1.0).contains(&batch_norm_eps) {
        return Err(refuse(format_args!("has a size out of range among {sizes:?} ({what}), or batch_norm_eps is")));
    }
    Ok(())
}

/// Refuses a name in `config` or `preset` that no builder reads: misspelt, it would change nothing. What `mobilesight info` prints
/// of a file is taken whole; files may have other names too, for their own readers.
///
/// # Errors
/// [`Error::WeightsMismatch`] names it, and those that are known.
pub fn check_names(config: &Map<String, Value>, preset: &Map<String, Value>) -> Result<()> {
    for (given, known) in [(config, json!(FileConfig::default())), (preset, json!(FilePreset::default()))] {
        let is_unknown = |name: &&String| known.get(name.as_str()).is_none() && !REMARKS.contains(&name.as_str());
        if let Some(name) = given.keys().find(is_unknown) {
            let known: Vec<&str> = known.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
            return Err(Error::WeightsMismatch(format!("{name:?} is not known; those that are: {}", known.join(", "))));
        }
    }
    Ok(())
}

/// Refuses scores and overlaps that cannot be.
fn check_fractions(fractions: &[f32], what: &str) -> Result<()> {
    match fractions.iter().find(|x| !(0.0..=1.0).contains(*x)) {
        Some(x) => Err(refuse(format_args!("has {x} among {what}, which are of 0 to 1"))),
        None => Ok(()),
    }
}

/// The parameters in `metadata` of the detector whose defaults are `config`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when a value cannot be.
pub fn faster_rcnn_config(mut config: FasterRcnnConfig, metadata: &Metadata) -> Result<FasterRcnnConfig> {
    let mut file: FileConfig = parse(&metadata.config)?;
    set_rows(&mut config.inverted_residual_setting, file.inverted_residual_setting.take())?;
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    set(&mut config.representation_size, file.representation_size);
    set(&mut config.min_size, file.min_size);
    set(&mut config.max_size, file.max_size);
    set(&mut config.rpn.pre_nms_top_n, file.rpn_pre_nms_top_n_test);
    set(&mut config.rpn.post_nms_top_n, file.rpn_post_nms_top_n_test);
    set(&mut config.rpn.score_thresh, file.rpn_score_thresh);
    set(&mut config.rpn.nms_thresh, file.rpn_nms_thresh);
    check_fractions(&[config.rpn.score_thresh, config.rpn.nms_thresh], "rpn_score_thresh, rpn_nms_thresh")?;
    file.set_boxes(&mut config.boxes)?;
    let sizes = [config.num_classes, config.representation_size, config.min_size, config.max_size];
    check_sizes(&sizes, config.batch_norm_eps, "classes, representation, min and max size")?;
    if config.min_size > config.max_size {
        return Err(refuse("has a min_size above its max_size"));
    }
    Ok(config)
}

/// The segmenter's parameters in `metadata`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when a value cannot be.
pub fn lraspp_config(metadata: &Metadata) -> Result<LrasppConfig> {
    let (file, preset): (FileConfig, FilePreset) = (parse(&metadata.config)?, parse(&metadata.preset)?);
    let mut config = LrasppConfig::lraspp_mobilenet_v3_large(metadata.labels.len());
    set_rows(&mut config.inverted_residual_setting, file.inverted_residual_setting)?;
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    set(&mut config.inter_channels, file.inter_channels);
    set(&mut config.resize, preset.resize);
    let sizes = [config.num_classes, config.inter_channels, config.resize];
    check_sizes(&sizes, config.batch_norm_eps, "classes, inter channels, resize")?;
    check_mask_classes(config.num_classes)?;
    Ok(config)
}

fn check_mask_classes(num_classes: usize) -> Result<()> {
    if num_classes > MOST_MASK_CLASSES {
        return Err(refuse(format_args!("has {num_classes} classes; a mask holds {MOST_MASK_CLASSES}")));
    }
    Ok(())
}

/// The parameters of DeepLabV3 or FCN in `metadata`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when a value cannot be.
pub fn segmentation_config(metadata: &Metadata) -> Result<SegmentationConfig> {
    let (file, preset): (FileConfig, FilePreset) = (parse(&metadata.config)?, parse(&metadata.preset)?);
    let mut config = SegmentationConfig::mobilenet_v3_large(metadata.labels.len());
    set_rows(&mut config.inverted_residual_setting, file.inverted_residual_setting)?;
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    set(&mut config.resize, preset.resize);
    check_sizes(&[config.num_classes, config.resize], config.batch_norm_eps, "classes, resize")?;
    check_mask_classes(config.num_classes)?;
    Ok(config)
}

/// SSDlite's parameters in `metadata`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when a value cannot be.
pub fn ssdlite_config(metadata: &Metadata) -> Result<SsdliteConfig> {
    let mut file: FileConfig = parse(&metadata.config)?;
    let mut config = SsdliteConfig::ssdlite320_mobilenet_v3_large(metadata.labels.len());
    set_rows(&mut config.inverted_residual_setting, file.inverted_residual_setting.take())?;
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    file.set_boxes(&mut config.boxes)?;
    check_sizes(&[config.num_classes], config.batch_norm_eps, "classes")?;
    Ok(config)
}

/// The parameters in `metadata` of the classifier whose defaults are `config`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when a value cannot be.
pub fn classifier_config(mut config: ClassifierConfig, metadata: &Metadata) -> Result<ClassifierConfig> {
    let (file, preset): (FileConfig, FilePreset) = (parse(&metadata.config)?, parse(&metadata.preset)?);
    set_rows(&mut config.inverted_residual_setting, file.inverted_residual_setting)?;
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    set(&mut config.last_channel, file.last_channel);
    set(&mut config.resize, preset.resize);
    set(&mut config.crop, preset.crop);
    let sizes = [config.num_classes, config.last_channel, config.resize, config.crop];
    check_sizes(&sizes, config.batch_norm_eps, "classes, last channel, resize, crop")?;
    Ok(config)
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(config: Value) -> Metadata {
        let (labels, preset) = (vec!["a".to_string(); 3], Value::Null);
        Metadata { arch: String::new(), labels, config, preset, source: None, license: None }
    }

    fn detector(config: Value) -> Result<FasterRcnnConfig> {
        faster_rcnn_config(FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(3), &metadata(config))
    }

    #[test]
    fn what_the_file_leaves_out_is_torchvisions() {
        let config = detector(json!({"rpn_score_thresh": 0.2})).unwrap();
        assert_eq!((config.num_classes, config.rpn.score_thresh, config.representation_size), (3, 0.2, 1024));
        let config = lraspp_config(&metadata(Value::Null)).unwrap();
        assert_eq!((config.num_classes, config.inter_channels, config.resize), (3, 128, 520));
    }

    #[test]
    fn bad_configs_are_refused_in_words() {
        let setting = |row: Value| json!({"inverted_residual_setting": [row]});
        for (config, what) in [
            (setting(json!([16, 4, 16, 16, false, "RE", 1, 1])), "kernels are 3 or 5"),
            (setting(json!([16, 3, 18, 16, false, "RE", 1, 1])), "come in fours"),
            (setting(json!([16, 3, 16, 16, false, "XX", 1, 1])), "not RE or HS"),
            (setting(json!([16, 3])), "cannot be read"),
            (json!({"min_size": 0}), "out of range"),
            (json!({"min_size": 900}), "above its max_size"),
            (json!({"batch_norm_eps": -1}), "batch_norm_eps"),
            (json!({"rpn_nms_thresh": 7}), "rpn_nms_thresh"),
            (json!({"box_score_thresh": -0.5}), "box_score_thresh"),
        ] {
            let error = detector(config).unwrap_err();
            assert!(error.to_string().contains(what) && error.code() == "E_WEIGHTS_MISMATCH", "{error}");
        }
        assert!(lraspp_config(&metadata(json!({"num_classes": 300}))).unwrap_err().to_string().contains("256"));
    }
}
