//! The names of the classes that TorchVision's own weights have: torchvision/models/_meta.py. A file a list, a name a line.

/// ImageNet-1k, 1,000 classes.
pub const IMAGENET_1K: &str = include_str!("imagenet_1k.txt");
/// COCO, 91 classes by their original ids, the background and the unused ones included.
pub const COCO_91: &str = include_str!("coco_91.txt");
/// Pascal VOC, 21 classes with the background.
pub const VOC_21: &str = include_str!("voc_21.txt");

/// The names of `list`, or `class 0`, … where a model has another number of classes.
pub fn labels(list: &str, num_classes: usize) -> Vec<String> {
    if list.lines().count() == num_classes {
        return list.lines().map(str::to_string).collect();
    }
    (0..num_classes).map(|i| format!("class {i}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_have_the_classes_that_their_names_say() {
        let counts = [(IMAGENET_1K, 1000, "tench"), (COCO_91, 91, "__background__"), (VOC_21, 21, "__background__")];
        for (list, count, first) in counts {
            let names = labels(list, count);
            assert_eq!((names.len(), names[0].as_str()), (count, first));
            assert!(names.iter().all(|name| !name.is_empty()));
        }
        assert_eq!(labels(VOC_21, 2), ["class 0", "class 1"]);
    }
}
