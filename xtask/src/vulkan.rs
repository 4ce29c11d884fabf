//! Vulkan on this machine: is there a real GPU, is there a software driver, and how to get one.

use crate::stderr::tell_line;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{ask, run};

const DRIVER_FOLDERS: [&str; 4] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/etc/vulkan/icd.d",
];
const LIBRARY_FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// How wgpu tests run here.
#[derive(Debug, PartialEq, Eq)]
pub enum VulkanDriver {
    /// A real GPU, or an operating system whose graphics need no Vulkan: nothing to set.
    Gpu,
    /// Mesa's llvmpipe; this is the file that tells the Vulkan loader about it.
    Software(PathBuf),
}

impl VulkanDriver {
    /// The variables that keep a Vulkan loader to this driver.
    pub fn env(&self) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::Gpu => Vec::new(),
            // Loaders before 1.3.207 only know the first name.
            Self::Software(icd) => vec![
                ("VK_ICD_FILENAMES", icd.clone()),
                ("VK_DRIVER_FILES", icd.clone()),
            ],
        }
    }
}

/// Set, it says that no GPU of this machine is to be used: for machines on which a driver is found and no GPU behind it.
const WITHOUT_GPU: &str = "BLOCKLLM_WITHOUT_GPU";

/// What Windows calls adapters that are no GPU.
const NO_ADAPTERS: [&str; 4] = ["Basic Display", "Basic Render", "Remote Display", "Hyper-V Video"];

/// Whether wgpu reaches a real GPU here; software Vulkan does not count.
pub fn has_gpu() -> bool {
    if std::env::var_os(WITHOUT_GPU).is_some_and(|value| !value.is_empty() && value != "0") {
        return false;
    }
    // Where the question cannot be asked there most likely is one, as there is in a machine with a screen.
    if cfg!(target_os = "macos") {
        return ask("system_profiler", &["SPDisplaysDataType"]).is_none_or(|text| names_metal(&text));
    }
    if cfg!(target_os = "windows") {
        let names = "(Get-CimInstance Win32_VideoController).Name";
        return ask("powershell", &["-NoProfile", "-Command", names]).is_none_or(|text| names_adapter(&text));
    }
    if let Some(summary) = ask("vulkaninfo", &["--summary"]) {
        return lists_gpu(&summary);
    }
    has_render_node() && has_library() && driver_files().iter().any(|file| !is_software(file))
}

/// A driver for the tests that is here already; installs nothing.
pub fn driver() -> Option<VulkanDriver> {
    if has_gpu() {
        return Some(VulkanDriver::Gpu);
    }
    software_driver()
}

/// A driver for the tests; where there is none, Mesa's software driver is installed, which a person or a script has asked for.
pub fn installed_driver() -> Result<VulkanDriver> {
    if let Some(driver) = driver() {
        return Ok(driver);
    }
    install()?;
    match software_driver() {
        Some(driver) => Ok(driver),
        None => bail!(
            "{} are installed, but no lvp_icd*.json is in {DRIVER_FOLDERS:?}",
            PACKAGES.join(" and ")
        ),
    }
}

/// The software driver, where there is no real GPU and it is installed already; installs nothing.
pub fn installed_software() -> Option<VulkanDriver> {
    if has_gpu() { None } else { software_driver() }
}

fn software_driver() -> Option<VulkanDriver> {
    let icd = driver_files().into_iter().find(|file| is_software(file))?;
    has_library().then_some(VulkanDriver::Software(icd))
}

fn install() -> Result<()> {
    let hint = missing_driver_hint();
    if which("apt-get").is_none() {
        bail!("{hint}");
    }
    let sudo: &[&str] = match ask("id", &["-u"]).as_deref().map(str::trim) {
        Some("0") => &[],
        _ if ask("sudo", &["-n", "true"]).is_some() => &["sudo", "-n"],
        _ => bail!("{hint}"),
    };
    println!(
        "installing {} for the tests on software Vulkan",
        PACKAGES.join(" and ")
    );
    let apt_get = |args: &[&str]| {
        let words: Vec<&str> = sudo
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .copied()
            .collect();
        run(Command::new(words[0]).args(&words[1..]).args(args))
    };
    // Old lists are only a reason to fail when the packages cannot be found in them.
    if let Err(error) = apt_get(&["update", "-q"]) {
        tell_line!("warning: {error:#}");
    }
    apt_get(&[&["install", "-y", "-q", "--no-install-recommends"], &PACKAGES[..]].concat())
        .map_err(|error| error.context(hint))
}

/// What to type where no driver is found.
pub fn missing_driver_hint() -> String {
    format!(
        "the wgpu tests need a GPU or a Vulkan driver and neither is here. On Debian type\n  \
         sudo apt-get install -y {}\nor let `cargo xtask test --install` do it (other systems: Mesa's lavapipe and the Vulkan \
         loader), or test without wgpu:\n  cargo xtask test --device flex",
        PACKAGES.join(" ")
    )
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn has_render_node() -> bool {
    std::fs::read_dir("/dev/dri").is_ok_and(|mut nodes| {
        nodes.any(|node| node.is_ok_and(|node| node.file_name().to_string_lossy().starts_with("renderD")))
    })
}

fn has_library() -> bool {
    LIBRARY_FOLDERS
        .iter()
        .any(|folder| Path::new(folder).join("libvulkan.so.1").exists())
        || ask("ldconfig", &["-p"]).is_some_and(|libraries| libraries.contains("libvulkan.so.1"))
}

/// The files that tell the Vulkan loader about its drivers, in the order of their names.
fn driver_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = DRIVER_FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|folder| folder.flatten().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// Mesa calls its software driver `lvp_icd.x86_64.json`, or `lvp_icd.json` in newer releases.
fn is_software(driver_file: &Path) -> bool {
    driver_file
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
}

/// Whether `system_profiler SPDisplaysDataType` names a GPU with Metal; headless virtual machines have none.
fn names_metal(text: &str) -> bool {
    let metal = text.lines().filter_map(|line| line.trim().strip_prefix("Metal"));
    metal
        .into_iter()
        .any(|rest| rest.contains(':') && !rest.contains("ot Supported") && !rest.contains("nsupported"))
}

/// Whether the names of Windows' video controllers, one a line, have a GPU's among them.
fn names_adapter(names: &str) -> bool {
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    names
        .into_iter()
        .any(|name| !NO_ADAPTERS.iter().any(|no_adapter| name.contains(no_adapter)))
}

/// Whether `vulkaninfo --summary` lists a device that is not the CPU.
fn lists_gpu(summary: &str) -> bool {
    let types = summary
        .lines()
        .filter_map(|line| line.trim().strip_prefix("deviceType"));
    types.into_iter().any(|kind| kind.contains("_GPU"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvmpipe_is_no_gpu() {
        let cpu =
            "GPU0:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName = llvmpipe (LLVM 15)\n";
        let gpu = "GPU0:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n";
        assert!(!lists_gpu(cpu));
        assert!(lists_gpu(gpu));
        assert!(lists_gpu(&format!("{cpu}{gpu}")));
        assert!(!lists_gpu(""));
    }

    #[test]
    fn a_headless_mac_or_windows_has_no_gpu() {
        let mac = "Graphics/Displays:\n\n    Apple M1:\n\n      Chipset Model: Apple M1\n      Metal Support: Metal 3\n";
        let older = "    Intel Iris:\n      Metal: Supported, feature set macOS GPUFamily1 v4\n";
        let headless = "Graphics/Displays:\n\n    Display:\n\n      Type: GPU\n      Kernel Extension Info: No Kext Loaded\n";
        assert!(names_metal(mac) && names_metal(older));
        assert!(!names_metal(headless) && !names_metal("      Metal: Not Supported\n") && !names_metal(""));

        assert!(names_adapter("NVIDIA GeForce RTX 4090\r\n"));
        assert!(names_adapter(
            "Microsoft Basic Display Adapter\r\nAMD Radeon Graphics\r\n"
        ));
        for headless in [
            "",
            "\r\n",
            "Microsoft Basic Display Adapter\r\n",
            "Microsoft Hyper-V Video\r\nMicrosoft Remote Display Adapter\r\n",
        ] {
            assert!(!names_adapter(headless), "{headless}");
        }
    }

    #[test]
    fn the_software_driver_is_known_under_both_of_its_names() {
        assert!(is_software(Path::new(
            "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"
        )));
        assert!(is_software(Path::new("/usr/share/vulkan/icd.d/lvp_icd.json")));
        assert!(!is_software(Path::new(
            "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json"
        )));
    }

    #[test]
    fn only_the_software_driver_sets_variables() {
        assert!(VulkanDriver::Gpu.env().is_empty());
        let driver = VulkanDriver::Software("/x/lvp_icd.json".into());
        assert!(
            driver
                .env()
                .contains(&("VK_ICD_FILENAMES", "/x/lvp_icd.json".into()))
        );
    }

    #[test]
    fn without_a_driver_the_exact_line_to_type_is_named() {
        assert!(missing_driver_hint().contains("sudo apt-get install -y mesa-vulkan-drivers libvulkan1"));
    }
}
