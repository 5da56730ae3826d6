mod forgeries;
mod honest;
mod mint;
mod servers;
mod settings;
