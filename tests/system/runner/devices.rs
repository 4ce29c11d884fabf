//! Devices that are not there: told plainly, or passed over with a reason; and the check of a device that is.
#[cfg(feature = "wgpu")]
use super::process::{Ended, succeed, text};
use super::process::{refuse, runner};

#[test]
fn a_backend_that_was_not_built_in_is_refused_by_its_feature() {
    refuse(
        &["c4", "--device", "cuda"],
        &["device", "cuda", "built without it", "--features cuda"],
    );
}

#[test]
fn auto_says_which_device_it_took_before_data_is_read() {
    let ended = runner(["c4", "--device", "auto", "--model", "none-such"]);
    // A Vulkan loader may have lines of its own to say.
    let line = ended
        .stderr
        .lines()
        .find(|line| line.starts_with("device: "))
        .unwrap();
    assert!(
        line.starts_with("device: flex") || line.starts_with("device: wgpu"),
        "{line}"
    );
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("none-such"), "{}", ended.stderr);
}

#[cfg(feature = "wgpu")]
#[test]
fn gpu_check_checks_what_it_can_and_says_what_it_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let Ended { stdout, .. } = succeed(["gpu-check", "--device", "wgpu", "--out", text(folder.path())]);
    let page = std::fs::read_to_string(folder.path().join("gpu-check.md")).unwrap();
    assert!(stdout.contains(page.trim_end()), "the page is printed too");
    for part in [
        "## Kernels against flex",
        "rms_norm",
        "blockllm:0.8: losses",
        "blockllm:0.8: resumed",
    ] {
        assert!(page.contains(part), "`{part}` is not in: {page}");
    }
    assert!(
        page.contains("No check failed") && !page.contains("FAILED"),
        "{page}"
    );
    assert!(folder.path().join("gpu-check-unfused.json").is_file());
}
