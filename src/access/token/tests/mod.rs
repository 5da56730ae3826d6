mod forgeries;
mod honest;
mod identity;
mod mint;
mod servers;
mod settings;
